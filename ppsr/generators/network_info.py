"""Properties of a network that inference needs, stored in the JSON file of an export."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ppsr.errors import ConfigError, DataError
from ppsr.files import read_regular

__all__ = ["INFO_SUFFIX", "NetworkInfo", "network_info"]

_LARGEST_FILE = 2**24  # bytes
INFO_SUFFIX = ".info.json"  # not .json: that is the name of Paddle's own graph


@dataclass(frozen=True, config=ConfigDict(strict=True))
class NetworkInfo:
    """Properties of a network from LR to SR images.

    Attributes:
        rgb_range: largest value of an image, 1 or 255.
        size_multiple: height and width of its input are multiples of it.
        receptive_radius: how far an output pixel sees, in LR pixels; None: unbounded. With degradation
            parameters, that of the generator.
        fp16_safe: whether half precision is expected to work.
        luma: whether its one channel is Y of YCbCr, so that colour images are converted for it.
        degradation_params: number of degradation parameters that steer it; 0: it takes none.
    """

    network: str
    scale: Annotated[int, Field(ge=1, le=64)]
    channels: Annotated[int, Field(ge=1, le=64)] = 3
    rgb_range: Annotated[float, Field(ge=1, le=65535)] = 1.0
    size_multiple: Annotated[int, Field(ge=1, le=1024)] = 1
    receptive_radius: Annotated[int, Field(ge=0, le=2**20)] | None = None
    fp16_safe: bool = False
    luma: bool = False
    degradation_params: Annotated[int, Field(ge=0, le=4096)] = 0

    def to_json(self, **more: Any) -> str:
        """Text of the JSON file of an export."""
        return json.dumps({**asdict(self), **more}, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> tuple[NetworkInfo, dict[str, Any]]:
        """The description and all entries of a file that `to_json` made.

        Raises:
            DataError: missing, or its values cannot be those of a network.
        """
        try:
            text = read_regular(path, _LARGEST_FILE).decode()
            _Entries.model_validate_json(text)
            return TypeAdapter(cls).validate_json(text), json.loads(text)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}; export again") from None
        except ValidationError as error:
            first = error.errors()[0]
            reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
            raise DataError(f"{path} does not describe an exported network: {reason}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} does not describe an exported network: {error}") from None


class _Entries(BaseModel, strict=True):
    """Further entries of the file that `ppsr export` writes."""

    files: dict[str, str] = {}
    input_shape: Annotated[list[int | None], Field(min_length=4, max_length=4)] | None = None


def network_info(net: Any) -> NetworkInfo:
    """The properties that a network class states as attributes.

    Raises:
        ConfigError: it has no scale, so it does not make SR images.
    """
    from ppsr.generators.apply import input_channels  # Paddle, which readers of these files may do without

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
