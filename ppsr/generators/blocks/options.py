"""Constructor arguments that SwinIR, HAT, DRCT and MambaIR share, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, get_type_hints

from ppsr.errors import ConfigError


@dataclass(frozen=True)
class TokenOptions:
    """Arguments of a network of token groups; `SwinSkeleton` describes them."""

    img_size: int | Sequence[int] = 64
    patch_size: int = 1
    in_chans: int = 3
    embed_dim: int = 96
    depths: Sequence[int] = (6, 6, 6, 6)
    mlp_ratio: float = 4.0
    drop_rate: float = 0.0
    drop_path_rate: float = 0.1
    patch_norm: bool = True
    use_checkpoint: bool = False
    upscale: int = 2
    img_range: float = 1.0
    upsampler: str | None = "pixelshuffle"
    resi_connection: str = "1conv"

    def drop_paths(self) -> list[float]:
        """Stochastic depth of each block: rates that grow linearly from zero."""
        count = sum(self.depths)
        return [self.drop_path_rate * i / max(count - 1, 1) for i in range(count)]


@dataclass(frozen=True)
class WindowOptions(TokenOptions):
    """And those of window attention."""

    num_heads: Sequence[int] = (6, 6, 6, 6)
    window_size: int = 7
    qkv_bias: bool = True
    qk_scale: float | None = None
    attn_drop_rate: float = 0.0
    ape: bool = False

    def __post_init__(self) -> None:
        if self.window_size < 1:
            raise ConfigError(f"window_size must be 1 or more, got {self.window_size}")

    def window(self) -> tuple[int, int]:
        """Window and shift; images announced no larger than a window get one window without shift."""
        side = min(image_sides(self.img_size))
        return (side, 0) if side <= self.window_size else (self.window_size, self.window_size // 2)

    def groups(self) -> list[tuple[int, int]]:
        """Blocks and heads of each group."""
        if len(self.depths) != len(self.num_heads):
            raise ConfigError(
                f"depths {list(self.depths)} and num_heads {list(self.num_heads)} must have one number for "
                "every group"
            )
        return list(zip(self.depths, self.num_heads, strict=True))

    def block(self, drop_path: float) -> dict[str, Any]:
        """Arguments of `SwinBlock` other than sizes."""
        return {
            "qkv_bias": self.qkv_bias,
            "qk_scale": self.qk_scale,
            "drop": self.drop_rate,
            "attn_drop": self.attn_drop_rate,
            "drop_path": drop_path,
        }


def image_sides(img_size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of an image size, which may be one number for both."""
    sides = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(sides) != 2 or min(sides) < 1:
        raise ConfigError(f"img_size is a side, or height and width, above 0; got {list(sides)}")
    return sides


def takes(
    options: type[TokenOptions], **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a constructor the fields of a dataclass as keyword arguments, in addition to its own.

    Args:
        options: the dataclass; the constructor receives an instance of it as its first argument.
        defaults: default values of the network that differ from those of the dataclass.
    """
    shared = {field.name: field for field in fields(options)}

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        self_parameter, _, *own = inspect.signature(init).parameters.values()

        @wraps(init)
        def constructor(self: Any, **arguments: Any) -> None:
            given = {key: arguments.pop(key) for key in shared.keys() & arguments.keys()}
            init(self, options(**{**defaults, **given}), **arguments)

        declared = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, field.default),
                annotation=field.type,
            )
            for name, field in shared.items()
        ]
        # for whoever checks arguments by their types; the dataclass' own module resolves its annotations
        constructor.__annotations__ = {**init.__annotations__, **get_type_hints(options)}
        constructor.__signature__ = inspect.Signature([self_parameter, *declared, *own])  # type: ignore[attr-defined]
        return constructor

    return decorate
