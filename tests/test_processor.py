"""The processor's name and instruction sets."""

import platform
from pathlib import Path

import pytest

from ppsr.processor import has_bfloat16, processor_name

TWO_CORES = """processor\t: 0
model name\t: Some CPU: the fast one
flags\t\t: fpu avx2 amx_bf16

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""


def test_name_and_flags_are_those_of_the_first_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: TWO_CORES)
    assert processor_name() == "Some CPU: the fast one"
    assert has_bfloat16()
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: TWO_CORES.replace("amx_bf16", "avx512f"))
    assert not has_bfloat16()


def test_a_system_without_a_list_gives_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr("platform.processor", lambda: "")
    assert processor_name() == platform.machine()
    assert not has_bfloat16()
