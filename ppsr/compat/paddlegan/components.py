"""PaddleGAN's networks and losses in configurations of ppsr: `name: ppgan.LESRCNNGenerator`.

The registries look a name with this prefix up here. A network is given the facts that ppsr reads of every
generator; its parameters keep their names, so PaddleGAN's weight files fit.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError, did_you_mean

# ppgan asks for numba 0.53.1, librosa 0.8.1 and imageio 2.9.0, which Python 3.10 has no wheels of; its
# super-resolution needs none of them.
INSTALL = "pip install munch && pip install --no-deps ppgan==2.1.0"

_FLUID = ("paddle.fluid", "paddle.fluid.layers", "paddle.fluid.layers.nn")


class MissingPpganError(ConfigError, ImportError):
    """PaddleGAN's package is not installed, or lacks something."""


def soft_relu(x: Tensor, threshold: float = 40.0) -> Tensor:
    """log(1 + exp(x)), with x limited to +-threshold."""
    return paddle.log(1 + paddle.exp(paddle.clip(x, -threshold, threshold)))


@contextmanager
def _fluid_stand_in() -> Iterator[None]:
    """`paddle.fluid.layers.nn.soft_relu` can be imported inside.

    The last release of PaddleGAN (ppgan 2.1.0), written for Paddle 2.4, imports it in a model of another
    task, and later versions of Paddle lack it. It is gone afterwards, so that nothing else takes this Paddle
    for an old one.
    """
    if find_spec("paddle.fluid") is not None:
        yield
        return
    modules = {name: ModuleType(name) for name in _FLUID}
    vars(modules[_FLUID[-1]])["soft_relu"] = soft_relu
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)


def load_ppgan() -> None:
    """Import PaddleGAN's models, data sets and metrics, which fills its registries.

    Raises:
        MissingPpganError: it is not installed; the message holds the commands that install it.
    """
    try:
        with _fluid_stand_in():
            for name in ("models", "datasets", "metrics"):
                import_module(f"ppgan.{name}")
    except ImportError as error:
        raise MissingPpganError(
            f"PaddleGAN's package ppgan cannot be imported ({error}); install it by: {INSTALL}"
        ) from error


_KINDS = {"generator": "generators", "discriminator": "discriminators", "criterion": "criterions"}
_PROBE = 16  # side of the image by which the scale is found


@cache
def component(kind: str, name: str) -> Callable[..., Any]:
    """A function that builds a component of PaddleGAN and takes the arguments of its constructor.

    Raises:
        ConfigError: another kind, an unknown name (with the nearest), or PaddleGAN is not installed.
    """
    if kind not in _KINDS:
        raise ConfigError(
            f"'ppgan.{name}': only {', '.join(f'{k}s' for k in _KINDS)} of PaddleGAN can be used, not {kind}s"
        )
    load_ppgan()
    builder = import_module(f"ppgan.models.{_KINDS[kind]}.builder")
    registered = getattr(builder, f"{kind.upper()}S")._obj_map
    if name not in registered:
        raise ConfigError(f"PaddleGAN has no {kind} '{name}'; {did_you_mean(name, registered)}")
    constructor = registered[name]
    signature = inspect.signature(constructor)

    def build(**options: Any) -> Any:
        built = constructor(**options)
        if kind == "generator":
            arguments = signature.bind(**options)
            arguments.apply_defaults()
            _set_attributes(built, f"ppgan.{name}", arguments.arguments)
        return _Summed(built) if kind == "criterion" else built

    vars(build)["__signature__"] = signature  # names of options are checked against it
    return build


class _Summed:
    """A loss whose parts are added; PaddleGAN's perceptual loss returns two, of which one may be None."""

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = loss

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        result = self.loss(*inputs, **options)
        if not isinstance(result, tuple):
            return result
        return paddle.add_n([part for part in result if part is not None])


def _set_attributes(net: nn.Layer, name: str, arguments: Mapping[str, Any]) -> None:
    """State `scale`, which is measured as not every network says it, `num_channels` and `rgb_range`."""
    net.rgb_range = float(arguments.get("rgb_range", 1))
    net.num_channels = int(arguments.get("in_nc", 3))
    image = paddle.zeros([1, net.num_channels, _PROBE, _PROBE])
    net.eval()
    try:
        with paddle.no_grad():
            output = net(image)
    except Exception as error:  # whatever a network raises that wants other inputs than an image
        raise ConfigError(f"{name} does not take an LR image alone: {error}") from error
    net.train()
    output = output[-1] if isinstance(output, (list, tuple)) else output
    height, width = output.shape[2:] if isinstance(output, Tensor) and output.ndim == 4 else (0, 0)
    if not height or height != width or height % _PROBE:
        raise ConfigError(
            f"{name} does not make an SR image: {_PROBE} pixels a side became {height} x {width}"
        )
    if getattr(net, "scale", None) != height // _PROBE:
        net.scale = height // _PROBE
