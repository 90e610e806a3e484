"""Fast CPU execution. The rest of the package only knows the names listed here.

`enable()` sets threads and memory of the process, at the start of a command; convolutions and products need
no call. The environment variable PPSR_ACCELERATE=0, read at the first use, switches both off.
"""

from __future__ import annotations

from ppsr.accelerate.conv import conv2d, conv2d_tokens
from ppsr.accelerate.dense import dense_block
from ppsr.accelerate.process import cpu_threads, enable
from ppsr.accelerate.products import linear, matmul
from ppsr.accelerate.runtime import disabled, is_enabled, runs_eagerly, usable
from ppsr.accelerate.scan import selective_scan
from ppsr.accelerate.tokens import gelu, layer_norm, prelu, scaled_sum
from ppsr.accelerate.windows import attention

__all__ = [
    "attention",
    "conv2d",
    "conv2d_tokens",
    "cpu_threads",
    "dense_block",
    "disabled",
    "enable",
    "gelu",
    "is_enabled",
    "layer_norm",
    "linear",
    "matmul",
    "prelu",
    "runs_eagerly",
    "scaled_sum",
    "selective_scan",
    "usable",
]
