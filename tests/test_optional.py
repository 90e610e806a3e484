"""A package that is not there skips tests on a developer's machine and fails them in continuous
integration."""

import pytest
from _pytest.outcomes import Skipped

from tests.docs.blocks import ROOT
from tests.optional import needed


def test_an_absent_package_skips_here(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(Skipped, match="for a reason"):
        needed("no_such_package", "for a reason")


def test_an_absent_package_fails_in_continuous_integration(monkeypatch):
    monkeypatch.setenv("CI", "1")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        needed("no_such_package", "for a reason")
    assert needed("json", "for a reason").dumps(1) == "1"


def test_paddlegan_is_installed_wherever_its_tests_are_collected():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    environments = text.count("-r requirements-dev.txt")
    assert environments == 2
    assert text.count("--no-deps ppgan==2.1.0") == environments
    assert 'needed("ppgan"' in (ROOT / "tests/compat/test_ppgan.py").read_text(encoding="utf-8")
