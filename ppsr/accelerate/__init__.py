"""Fast CPU execution. The rest of the package only knows the names listed here.

`enable()` sets threads and memory of the process, at the start of a command; convolutions need no call. The
environment variable PPSR_ACCELERATE=0, read at the first use, switches both off.
"""

from __future__ import annotations

from ppsr.accelerate.conv import conv2d, is_enabled, stock
from ppsr.accelerate.process import cpu_threads, enable

__all__ = ["conv2d", "cpu_threads", "enable", "is_enabled", "stock"]
