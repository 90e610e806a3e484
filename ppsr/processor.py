"""What the processor of this machine is called and can do, as far as the system tells."""

from __future__ import annotations

import platform
from pathlib import Path

__all__ = ["processor_flags", "processor_name"]


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


def processor_flags() -> frozenset[str]:
    """Instruction sets of the processor as Linux names them; empty elsewhere."""
    return frozenset(_entry("flags").split())
