"""What code around a network must know about it; an exported network has it in a file beside it."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ppsr.errors import ConfigError, DataError
from ppsr.weights.channels import input_channels

__all__ = ["INFO_SUFFIX", "NetworkInfo", "network_info"]

_LARGEST_FILE = 2**24  # bytes
INFO_SUFFIX = ".info.json"  # not .json: that is the name of Paddle's own graph


@dataclass(frozen=True)
class NetworkInfo:
    """Properties of a network from LR to SR images.

    Attributes:
        network: name of its class.
        scale: SR size / LR size.
        channels: of an image, 1 or 3.
        rgb_range: largest value of an image, 1 or 255.
        size_multiple: height and width of its input are multiples of it.
        receptive_radius: how far an output pixel sees, in LR pixels; None: without bound. Where there are
            degradation parameters, that of the generator.
        fp16_safe: whether half precision is expected to work.
        luma: whether its one channel is Y of YCbCr, so that colour images are converted for it.
        degradation_params: number of degradation parameters that steer it; 0: it takes none.
    """

    network: str
    scale: int
    channels: int = 3
    rgb_range: float = 1.0
    size_multiple: int = 1
    receptive_radius: int | None = None
    fp16_safe: bool = False
    luma: bool = False
    degradation_params: int = 0

    def to_json(self, **more: Any) -> str:
        """The text of the file beside an export."""
        return json.dumps({**asdict(self), **more}, indent=1) + "\n"

    @classmethod
    def read(cls, path: str | Path) -> tuple[NetworkInfo, dict[str, Any]]:
        """The description and all entries of a file that `to_json` made.

        Raises:
            DataError: missing, or not such a file.
        """
        path = Path(path)
        try:
            if path.exists() and not (path.is_file() and path.stat().st_size <= _LARGEST_FILE):
                raise ValueError("it is no file of a sensible size")
            entries = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(entries, dict):
                raise TypeError("it is no mapping")
            known = {
                f.name: entries[f.name] for f in fields(cls) if f.name in entries or f.default is MISSING
            }
            info = cls(**known)
            info._check()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}; export again") from None
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{path} does not describe an exported network: {error!r}") from None
        return info, entries

    def _check(self) -> None:
        """Raises ValueError where a value cannot be that of a network."""
        bounds = {
            "scale": (1, 64),
            "channels": (1, 64),
            "rgb_range": (1, 65535),
            "size_multiple": (1, 1024),
            "receptive_radius": (0, 2**20),
            "degradation_params": (0, 4096),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if name == "receptive_radius" and value is None:
                continue
            kinds = (int, float) if name == "rgb_range" else (int,)
            if type(value) not in kinds or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}")


def network_info(net: Any) -> NetworkInfo:
    """What a network from LR to SR images states of itself.

    Raises:
        ConfigError: it does not state its scale, so it does not make SR images.
    """
    if not isinstance(getattr(net, "scale", None), int) or not getattr(net, "produces_image", True):
        raise ConfigError(f"{type(net).__name__} does not turn LR images into SR images; give one that does")
    params = int(getattr(net, "degradation_params", 0))
    steered = net.generator if params else net
    return NetworkInfo(
        network=type(net).__name__,
        scale=net.scale,
        channels=input_channels(net),
        rgb_range=float(getattr(net, "rgb_range", 1.0)),
        size_multiple=int(getattr(net, "size_multiple", 1)),
        receptive_radius=getattr(steered, "receptive_radius", None),
        fp16_safe=bool(getattr(net, "fp16_safe", False)),
        luma=bool(getattr(net, "luma", False)),
        degradation_params=params,
    )
