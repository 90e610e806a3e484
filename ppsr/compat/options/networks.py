"""Networks of BasicSR's option files -> ours.

Sources: DASR and CDDNet (MSRResNetDynamic), Reflash Dropout (one class for each kind, rate and place of
dropout), Simple-Align (MSRResNet_detailss), DRCT, HAT, SwinIR, Real-ESRGAN.
"""

from __future__ import annotations

import re

from ppsr.compat.options.components import Component
from ppsr.errors import ConfigError

__all__ = ["CDDNET_PARTS", "DISCRIMINATORS", "network_row"]

CDDNET_PARTS = {"use_rc": False, "column_dropout": 0.0, "row_dropout": 0.0}
"""Options of our CDDNet that make it DASR's generator, which has the same name in both projects."""

_DEAD_IN_DRCT = {
    key: "DRCT takes it and never uses it"
    for key in ("compress_ratio", "squeeze_factor", "conv_scale", "overlap_ratio")
}

_NETWORKS: dict[str, Component] = {
    "DRCT": Component("DRCT", unused=_DEAD_IN_DRCT),
    "Degradation_Predictor": Component("DegradationPredictor"),
    "HAT": Component("HAT"),
    "MSRResNet": Component("MSRResNet"),
    "MSRResNetDynamic": Component("CDDNet"),
    "MSRResNet_details": Component("MSRResNet"),
    "MSRResNet_detailss": Component("MSRResNet"),
    "MambaDRCT": Component("MambaDRCT"),
    "MambaIR": Component("MambaIR"),
    "RRDBNet": Component("RRDBNet"),
    "SRVGGNetCompact": Component("SRVGGNetCompact"),
    "SwinIR": Component("SwinIR"),
}

DISCRIMINATORS: dict[str, Component] = {"UNetDiscriminatorSN": Component("UNetDiscriminatorSN")}

_DROPOUT = re.compile(
    r"(?P<base>MSRResNet|RRDBNet)(_detailss?)?(?P<plain>_woGR)?"
    r"(_drop(out)?(?P<places>[a-z0-9]+?)_(?P<kind>channel|element)(?P<tenths>\d\d))?"
)
_PLACES = re.compile(r"first|b\d+|upconv12|up2|hr|last")
_TWO_PLACES = {"upconv12": ["upconv1", "upconv2", "up2"]}


def network_row(name: str, where: str) -> Component:
    """The row of a network's name; dropout is part of Reflash Dropout's names and an option of ours.

    Raises:
        ConfigError: no such network here.
    """
    if name in _NETWORKS:
        return _NETWORKS[name]
    match = _DROPOUT.fullmatch(name)
    places = _PLACES.findall(match["places"] or "") if match else []
    if match is None or "".join(places) != (match["places"] or ""):
        raise ConfigError(
            f"{where}: the network '{name}' has no counterpart; these have: {', '.join(_NETWORKS)}, and "
            "names with dropout such as MSRResNet_details_dropoutlast_channel07"
        )
    fixed: dict[str, object] = {"global_residual": False} if match["plain"] else {}
    if places:
        fixed["dropout"] = {
            "type": match["kind"],
            "p": int(match["tenths"]) / 10,
            "positions": [ours for place in places for ours in _TWO_PLACES.get(place, [place])],
        }
    return Component(match["base"], fixed=fixed)
