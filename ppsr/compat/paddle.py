"""Differences between versions and builds of Paddle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import _legacy_C_ops
from paddle.base import core
from paddle.base.framework import default_main_program
from paddle.base.layer_helper import LayerHelper

__all__ = [
    "copy_from_pinned",
    "create_accumulators",
    "full_precision",
    "gpu_memory_free",
    "half_types",
    "keeps_master_weight",
    "runs_eagerly",
    "scale_tensors",
    "seeded",
    "shared_counters",
]


def copy_from_pinned(values: np.ndarray) -> paddle.Tensor:
    """An array on the current GPU, by a copy that the host does not wait for.

    Paddle keeps the pinned memory until the copy is done. `Tensor.cuda(blocking=False)` waits in 2.6.
    """
    pinned = paddle.to_tensor(values, place=paddle.CUDAPinnedPlace())
    return pinned._copy_to(paddle.framework._current_expected_place(), False)


def create_accumulators(optimizer: paddle.optimizer.Optimizer) -> None:
    """Give an optimizer's parameters their accumulators.

    By itself Paddle waits for the first gradient of each, and refuses a loaded state that lacks some.
    """
    if optimizer.helper is None:  # until the first step, without which 2.6 makes none
        optimizer.helper = LayerHelper(type(optimizer).__name__)
    optimizer._create_accumulators(default_main_program().global_block(), optimizer._parameter_list)


def keeps_master_weight(optimizer: paddle.optimizer.Optimizer, parameter: paddle.Tensor) -> bool:
    """Whether the optimizer updates a float32 copy of this parameter instead of the parameter itself."""
    half = parameter.dtype in (paddle.float16, paddle.bfloat16)
    return bool(half and getattr(optimizer, "_multi_precision", False))


def half_types(device: str) -> list[str]:
    """The half-precision types that autocast has an effect with on a device; none on a CPU."""
    if device.startswith("cpu"):
        return []
    supported = {"float16": paddle.amp.is_float16_supported, "bfloat16": paddle.amp.is_bfloat16_supported}
    return [name for name, works in supported.items() if works(device)]


# one mode of `paddle.jit.to_static` takes True for the result of this function, which 2.6 lacks
_in_sot = getattr(paddle.base.dygraph.base, "in_sot_simulation_mode", lambda: False)


def runs_eagerly() -> bool:
    """Whether operators compute now, rather than being traced by `paddle.jit.to_static` in either mode."""
    return bool(paddle.in_dynamic_mode() and not _in_sot())


def scale_tensors(tensors: Sequence[paddle.Tensor], factor: float) -> None:
    """Multiply tensors of one data type by a positive number, in place, with one kernel.

    This is the kernel by which `paddle.amp.GradScaler` divides gradients.
    """
    divisor, found = paddle.full([1], 1 / factor), paddle.zeros([1], dtype="bool")
    _legacy_C_ops.check_finite_and_unscale(list(tensors), divisor, list(tensors), found)


def shared_counters() -> Any:
    """The store of the launched processes; `add(key, n)` adds to a counter and returns its value."""
    return core.create_or_get_global_tcp_store()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from Paddle's generators as if newly seeded inside; afterwards their former state is restored.

    Paddle's operators draw from one generator per device and take no other; seeding one seeds the CPU's too.
    """
    host = core.default_cpu_generator()
    states = paddle.get_rng_state(), host.get_state()
    paddle.seed(seed)
    try:
        yield
    finally:
        paddle.set_rng_state(states[0])
        host.set_state(states[1])


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute matrix products and convolutions in float32 inside, also on GPUs that have TF32.

    There, Paddle by default rounds the factors to 11 bits, which moves JPEG coefficients to other levels. CPU
    builds of 2.6 lack the switches.
    """
    names = [name for name in ("cublas", "cudnn") if hasattr(core, f"get_{name}_switch")]
    before = {name: getattr(core, f"get_{name}_switch")() for name in names}
    for name in names:
        getattr(core, f"set_{name}_switch")(False)
    try:
        yield
    finally:
        for name, value in before.items():
            getattr(core, f"set_{name}_switch")(value)


def gpu_memory_free() -> int:
    """Bytes that may still be allocated on the current GPU, those that Paddle keeps for reuse included.

    Paddle 2.6 cannot ask the device: there, what other processes use counts as free.
    """
    cuda = paddle.device.cuda
    ask = getattr(cuda, "mem_get_info", None) or getattr(getattr(paddle, "cuda", None), "mem_get_info", None)
    if ask is not None:
        return int(ask()[0]) + int(cuda.memory_reserved()) - int(cuda.memory_allocated())
    return max(0, int(cuda.get_device_properties().total_memory) - int(cuda.memory_allocated()))
