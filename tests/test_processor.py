"""The processor's name and instruction sets."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from ppsr.processor import processor_flags, processor_name

TWO_CORES = """processor\t: 0
model name\t: Some CPU: the fast one
flags\t\t: fpu avx2

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""


def test_name_and_flags_are_those_of_the_first_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: TWO_CORES)
    assert processor_name() == "Some CPU: the fast one"
    assert processor_flags() == {"fpu", "avx2"}


def test_a_system_that_does_not_tell_gives_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert processor_name() == platform.machine()
    assert processor_flags() == frozenset()
