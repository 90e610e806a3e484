"""Fixtures of all tests."""

from __future__ import annotations

import logging

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def package_log_of_a_new_process() -> None:
    """A command that ran in this process, in a test or a fixture, left handlers on streams that are
    closed."""
    logger = logging.getLogger("ppsr")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
