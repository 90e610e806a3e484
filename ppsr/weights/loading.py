"""Putting named arrays into a network, with layouts converted and every mismatch reported."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import paddle
from paddle import nn

from ppsr.errors import ConfigError, WeightError
from ppsr.registry import GENERATORS
from ppsr.weights.dtypes import from_bits
from ppsr.weights.identify import identify, no_generator
from ppsr.weights.record import stated_network
from ppsr.weights.weight_file import WeightFile, read_weight_file

__all__ = ["check_stated", "load_state", "load_weights", "transposed_keys"]

_OF_TRAINING = frozenset(  # arguments that results do not depend on
    {"img_size", "use_checkpoint", "drop_rate", "attn_drop_rate", "drop_path_rate", "dropout"}
    | {"column_dropout", "row_dropout", "train_mean_shift"}
)


def transposed_keys(net: nn.Layer) -> set[str]:
    """Keys whose torch layout is the transpose of Paddle's: the weights of Linear layers."""
    return {
        f"{name}.weight" if name else "weight"
        for name, layer in net.named_sublayers(include_self=True)
        if isinstance(layer, nn.Linear)
    }


def load_state(
    net: nn.Layer,
    state: Mapping[str, np.ndarray],
    *,
    layout: Literal["torch", "paddle"] = "paddle",
    partial: bool | Sequence[str] = False,
    source: str | Path = "",
    option: str = "",
) -> list[str]:
    """Copy arrays into the parameters and buffers of a network.

    Args:
        net: the network; parameter names equal the published torch keys. It may define ``ignored_keys``,
            regular expressions for entries of published files that it derives itself (masks, indices), and
            ``map_published_keys``, which gives other published keys the network's own names.
        layout: "torch" transposes Linear weights.
        partial: True accepts missing, unexpected and mis-shaped keys and returns them, if at least half of
            the network's tensors are loaded. Regular expressions accept only keys that match one as a
            whole, however many.
        source: file that errors name.
        option: the user's option for `partial`, which errors name if half of the tensors fit.

    Returns:
        One line per entry that was not loaded; empty when all fits.

    Raises:
        ConfigError: ``partial`` holds something that is no regular expression, or Paddle is in static mode.
        WeightError: a key is missing, unexpected or has another shape and ``partial`` does not accept it, or
            it accepts all and fewer than half of the tensors are loaded. Nothing has changed then.
    """
    if not paddle.in_dynamic_mode():
        raise ConfigError(
            "Paddle is in static mode, where weights cannot be set: call paddle.disable_static()"
        )
    own = net.state_dict()
    if mapped := getattr(net, "map_published_keys", None):
        state = mapped(state)
    turn = transposed_keys(net) if layout == "torch" else set()
    ignored = _compiled(getattr(net, "ignored_keys", ()))
    problems: dict[str, str] = {}
    loaded: dict[str, np.ndarray] = {}
    for key, value in state.items():
        if key not in own:
            if not any(pattern.fullmatch(key) for pattern in ignored):
                problems[key] = f"unexpected {key} {tuple(value.shape)}"
            continue
        array = np.asarray(value)
        if array.dtype == np.uint16:  # how Paddle stores bfloat16
            array = from_bits(array)
        if key in turn and array.ndim == 2:
            array = array.T
        if list(array.shape) != list(own[key].shape):
            problems[key] = f"mis-shaped {key}: file {tuple(array.shape)}, network {tuple(own[key].shape)}"
            continue
        if array.dtype.kind in "iub" and own[key].is_floating_point():
            problems[key] = f"quantised {key}: {array.dtype} for a network of floats"
            continue
        loaded[key] = np.asarray(array, order="C")
    problems |= {key: f"missing {key} {tuple(own[key].shape)}" for key in own if key not in state}
    try:
        _refuse(net, state, problems, share=(len(loaded), len(own)), partial=partial)
    except WeightError as error:
        what, *listed = error.args
        if option and not partial and 2 * len(loaded) >= len(own):
            listed.append(f"to start from the tensors that fit: {option}")
        raise WeightError(f"{source}: {what}" if source else what, *listed) from None
    for key, array in loaded.items():
        own[key].set_value(paddle.to_tensor(array).astype(own[key].dtype))
    return list(problems.values())


def _compiled(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    try:
        return [re.compile(pattern) for pattern in patterns]
    except re.error as error:
        raise ConfigError(f"partial: {error.pattern!r} is not a regular expression: {error}") from None


def _refuse(
    net: nn.Layer,
    state: Mapping[str, np.ndarray],
    problems: Mapping[str, str],
    *,
    share: tuple[int, int],
    partial: bool | Sequence[str],
) -> None:
    """Raise what `partial` does not accept; `share` is how many tensors are loaded, and of how many."""
    if partial is True:
        loaded, total = share
        if 2 * loaded < total:
            raise WeightError(
                f"only {loaded} of the {total} tensors of {type(net).__name__} are in the weights"
                f"{_other(net, state)}; partial loading needs half. If that is meant, list regular "
                "expressions of the keys that may differ: partial: ['...']"
            )
        return
    accepted = _compiled(partial or ())
    refused = [
        text for key, text in problems.items() if not any(pattern.fullmatch(key) for pattern in accepted)
    ]
    if refused:
        more = [f"... {len(refused) - 20} more"] if len(refused) > 20 else []
        what = f"the weights do not fit {type(net).__name__}{_other(net, state)}:"
        raise WeightError(what, *refused[:20], *more)


def _other(net: nn.Layer, state: Mapping[str, np.ndarray]) -> str:
    """The network that the weights belong to instead, if it can be identified."""
    if (kind := no_generator(state)) and type(net).__name__ in GENERATORS:
        return f"; they are {kind}"
    try:
        name, arguments = identify(state)
    except WeightError:
        return ""
    if name != type(net).__name__:
        return f"; they are those of a {name}"
    steps = arguments.get("upscale", arguments.get("scale"))
    scale = steps[-1] if isinstance(steps, tuple) else steps
    if scale is None or scale == getattr(net, "scale", scale):
        return ""
    return f"; the file is for x{scale}, the network for x{net.scale}"


def check_stated(net: nn.Layer, file: WeightFile, name: str) -> None:
    """Check what shapes do not show, such as FSRCNN's scale, for weights that are computed with as they are.

    Raises:
        WeightError: the file states other arguments.
    """
    stated, built = file.stated(name), stated_network(net)
    if stated is None or built is None or stated.name != built.name:  # other networks have other shapes
        return
    parameters = inspect.signature(GENERATORS.get(built.name)).parameters
    theirs, ours = (
        {key: _plain(spec.kwargs, key, parameters) for key in parameters} for spec in (stated, built)
    )
    other = [key for key in parameters if theirs[key] != ours[key] and key not in _OF_TRAINING]
    if other:
        told = " and ".join(", ".join(f"{key} {args[key]}" for key in other) for args in (theirs, ours))
        raise WeightError(
            f"{file.path} and the config have a {built[0]} of different arguments: {told}; give the weights "
            "without a config, or with the one that they were trained by"
        )


def _plain(given: Mapping[str, Any], key: str, parameters: Mapping[str, inspect.Parameter]) -> Any:
    """The value of an argument, sequences as lists, as in files."""
    value = given.get(key, parameters[key].default)
    return list(value) if isinstance(value, tuple) else value


def load_weights(
    net: nn.Layer,
    path: str | Path,
    *,
    net_name: str = "generator",
    partial: bool | Sequence[str] = False,
    key: str | None = None,
) -> list[str]:
    """Load a weight file of any supported kind into a network.

    Args:
        net_name: which network to take of a file that holds several.
        partial: what need not fit, as of `load_state`.
        key: entry of a torch file, such as `params`; by default `params_ema` is preferred.

    Raises:
        ConfigError: ``partial`` holds something that is not a regular expression.
        WeightError: unreadable, unsafe, or it does not fit.
    """
    file = read_weight_file(path, key=key)
    return load_state(net, file.state(net_name), layout=file.layout, partial=partial, source=file.path)
