"""Networks of BasicSR's option files -> ours.

Sources: DASR and CDDNet (MSRResNetDynamic), Reflash Dropout (one class for each kind, rate and position of
dropout), Simple-Align (MSRResNet_detailss), DRCT, HAT, SwinIR, MambaIR, Real-ESRGAN.
"""

from __future__ import annotations

import re

from ppsr.compat.options.source import Component
from ppsr.errors import ConfigError

__all__ = ["network_row"]

_EQUAL = ("DRCT", "HAT", "MSRResNet", "MambaDRCT", "MambaIR", "RRDBNet", "SRVGGNetCompact", "SwinIR")
_NETWORKS = {name: name for name in _EQUAL} | {
    "Degradation_Predictor": "DegradationPredictor",
    "MSRResNetDynamic": "CDDNet",
    "MSRResNet_details": "MSRResNet",
    "MSRResNet_detailss": "MSRResNet",
}
_PLACE = r"first|b\d+|upconv12|up2|hr|last"
_DROPOUT = re.compile(
    r"(?P<base>MSRResNet|RRDBNet)(_detailss?)?(?P<plain>_woGR)?"
    rf"(_drop(out)?(?P<places>({_PLACE})+)_(?P<kind>channel|element)(?P<tenths>\d\d))?"
)
_SEVERAL = {"upconv12": ["upconv1", "upconv2", "up2"]}


def network_row(name: str, where: str) -> Component:
    """The row of a network's name; dropout is part of Reflash Dropout's names and an option of ours.

    Raises:
        ConfigError: no such network here.
    """
    if name in _NETWORKS:
        return Component(_NETWORKS[name])
    match = _DROPOUT.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"{where}: the network '{name}' has no counterpart; these have: {', '.join(sorted(_NETWORKS))}, "
            "and names with dropout such as MSRResNet_details_dropoutlast_channel07"
        )
    fixed: dict[str, object] = {"global_residual": False} if match["plain"] else {}
    if match["places"]:
        places = [p for place in re.findall(_PLACE, match["places"]) for p in _SEVERAL.get(place, [place])]
        fixed["dropout"] = {"type": match["kind"], "p": int(match["tenths"]) / 10, "positions": places}
    return Component(match["base"], fixed=fixed)
