"""The networks that ncnn files are read and written of, each described once.

A builder makes the nodes: `Expected` those to compare a file with, the writer the lines of a file.
Convolutions and PReLUs come in the order of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

ACTIVATION_SLOPES = {"prelu": None, "relu": 0.0, "leakyrelu": 0.1}
_SLOPE = _RESIDUAL = 0.2  # of RRDB


def _srvgg(builder: Any, arguments: Mapping[str, Any]) -> Any:
    upscale, convs = arguments.get("upscale", 4), arguments.get("num_conv", 16) + 2
    slope = ACTIVATION_SLOPES[arguments.get("act_type", "prelu")]
    x = features = builder.input()
    for k in range(convs - 1):
        features = builder.conv(f"body.{2 * k}", features, slope)
        if slope is None:
            features = builder.prelu(f"body.{2 * k + 1}", features)
    features = builder.shuffle(upscale, builder.conv(f"body.{2 * convs - 2}", features))
    return builder.total([features, builder.nearest(upscale, x)])


def _rrdb(builder: Any, arguments: Mapping[str, Any]) -> Any:
    scale = arguments.get("scale", 4)
    fold = arguments.get("unshuffle") or max(4 // scale, 1)
    first = features = builder.conv("conv_first", builder.unshuffle(fold, builder.input()))
    for block in range(arguments.get("num_block", 23)):
        before = features
        for r in (1, 2, 3):
            dense = [features]
            for k in range(1, 6):
                joined = dense[0] if k == 1 else builder.concat(*dense)
                dense.append(builder.conv(f"body.{block}.rdb{r}.conv{k}", joined, _SLOPE if k < 5 else None))
            features = builder.total([dense[-1], dense[0]], [_RESIDUAL, 1.0])
        features = builder.total([features, before], [_RESIDUAL, 1.0])
    features = builder.total([builder.conv("conv_body", features), first])
    for k in range(1, (scale * fold).bit_length()):
        features = builder.conv(f"conv_up{k}", builder.nearest(2, features), _SLOPE)
    return builder.conv("conv_last", builder.conv("conv_hr", features, _SLOPE))


NETWORKS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {"RRDBNet": _rrdb, "SRVGGNetCompact": _srvgg}
