"""The key layouts in which RRDB networks are published, mapped to the one of `RRDBNet`.

Three programs named one function differently, and each layout has relatives:

=========  =======================================  =====================================================
layout     a key of its dense blocks                published by
=========  =======================================  =====================================================
new        body.0.rdb1.conv1.weight                 BasicSR, Real-ESRGAN
trunk      RRDB_trunk.0.RDB1.conv1.weight           ESRGAN, BSRGAN, RealSR
old        model.1.sub.0.RDB1.conv1.0.weight        the first BasicSR, traiNNer; most community models
plus       model.1.sub.0.RDB1.conv1x1.weight        ESRGAN+: old, with a 1x1 convolution per dense block
kair       model.1.sub.0.RDB1.conv5.weight          KAIR: old, whose last dense convolution is bare
=========  =======================================  =====================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["DENSE_KEY", "esrgan_keys", "esrgan_layout"]

DENSE_KEY = r"(body\.0\.rdb1|RRDB_trunk\.0\.RDB1|model\.1\.sub\.0\.RDB1)\.conv1(\.0)?\.weight"

_TRUNK = {"trunk_conv": "conv_body", "HRconv": "conv_hr"}
_DENSE = re.compile(r"(?:RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB(\d)\.(conv(?:\d|1x1))(?:\.0)?\.(\w+)")
_UPWARD = re.compile(r"upconv(\d+)\.(\w+)")
_PLAIN = re.compile(r"model\.(1\.sub\.)?(\d+)\.(weight|bias)")


def esrgan_layout(keys: Iterable[str]) -> str:
    """Name of the layout: new, trunk, old, plus, kair; "" if the keys are not those of an RRDB network.

    >>> esrgan_layout(["RRDB_trunk.0.RDB1.conv1.weight"])
    'trunk'
    """
    found = set(keys)
    if "body.0.rdb1.conv1.weight" in found:
        return "new"
    if "RRDB_trunk.0.RDB1.conv1.weight" in found:
        return "trunk"
    if "model.1.sub.0.RDB1.conv1.0.weight" not in found:
        return ""
    if "model.1.sub.0.RDB1.conv1x1.weight" in found:
        return "plus"
    return "kair" if "model.1.sub.0.RDB1.conv5.weight" in found else "old"


def esrgan_keys(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under the keys of `RRDBNet`; keys that belong to no layout keep their names."""
    layout = esrgan_layout(state)
    if layout in ("", "new"):
        return dict(state)
    names = _trunk_name if layout == "trunk" else _OldNames(state)
    return {names(key): value for key, value in state.items()}


def _dense(key: str) -> str:
    match = _DENSE.fullmatch(key)
    return f"body.{match[1]}.rdb{match[2]}.{match[3]}.{match[4]}" if match else ""


def _trunk_name(key: str) -> str:
    if upward := _UPWARD.fullmatch(key):
        return f"conv_up{upward[1]}.{upward[2]}"
    name, _, kind = key.rpartition(".")
    return _dense(key) or (f"{_TRUNK[name]}.{kind}" if name in _TRUNK else key)


class _OldNames:
    """One flat sequence: convolution, blocks, then (enlargement, convolution, activation) U times, then
    convolution, activation, convolution. The indices with weights are 0, 3, 6, ..., 3U, 3U + 2, 3U + 4.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        matches = [match for key in keys if (match := _PLAIN.fullmatch(key))]
        last = max((int(match[2]) for match in matches if not match[1]), default=0)
        ups = (last - 4) // 3
        self.names = {0: "conv_first", 3 * ups + 2: "conv_hr", 3 * ups + 4: "conv_last"}
        self.names |= {3 * k: f"conv_up{k}" for k in range(1, ups + 1)}

    def __call__(self, key: str) -> str:
        if dense := _dense(key):
            return dense
        match = _PLAIN.fullmatch(key)
        if match is None:
            return key
        if match[1]:  # the convolution after the last block
            return f"conv_body.{match[3]}"
        name = self.names.get(int(match[2]))
        return f"{name}.{match[3]}" if name else key
