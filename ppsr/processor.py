"""Name and instruction sets of this machine's processor."""

from __future__ import annotations

import platform
from pathlib import Path


def _entry(name: str) -> str:
    """An entry of the first processor in Linux's list; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    line = next((line for line in text.splitlines() if line.startswith(name)), "")
    return line.partition(":")[2].strip()


def processor_name() -> str:
    """Model of the processor, or its architecture."""
    return _entry("model name") or platform.processor() or platform.machine()


def has_bfloat16() -> bool:
    """Whether the processor has bfloat16 arithmetic; False where its instruction sets are unknown."""
    return not {"avx512_bf16", "amx_bf16", "avx_ne_convert"}.isdisjoint(_entry("flags").split())
