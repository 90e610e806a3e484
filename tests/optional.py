"""Packages that only some tests need."""

import importlib
import os
from types import ModuleType

import pytest


def needed(name: str, reason: str) -> ModuleType:
    """A module, or these tests are skipped; where the environment has CI, its absence is a failure.

    Continuous integration installs it, so that a skip there would hide that the tests never run.
    """
    if os.environ.get("CI"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=reason)
