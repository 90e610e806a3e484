"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025, arXiv:2409.11321. Differences
from the release: vectors are preconditioned too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import paddle
from paddle import Tensor
from pydantic import NonNegativeFloat, PositiveInt

from ppsr.compat.paddle import keeps_master_weight
from ppsr.errors import ConfigError
from ppsr.solver.optimizers import RATE, FloatBelow1, Parameters

__all__ = ["SOAP"]

_COUNT = "_count_0"  # what Paddle would append to a name for an accumulator


class SOAP(paddle.optimizer.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioner, for small networks that Adam trains slowly.

    A parameter is seen as a matrix: the first axis against all others. Running means of G G^T and G^T G give
    two bases; Adam's second moments are kept in them. The first step only sets the bases. Networks of few
    channels without normalisation, such as FSRCNN, need a tenth of Adam's steps. Memory: four more squares of
    a parameter's sides.

    Args:
        beta1: decay rate of the mean of gradients.
        beta2: decay rate of second moments and bases.
        precondition_frequency: steps between updates of the bases.
        max_precondition_dim: longest side that gets a basis.
    """

    injected_args: ClassVar[tuple[str, ...]] = ("parameters",)

    def __init__(
        self,
        *,
        parameters: Parameters,
        beta1: FloatBelow1 = 0.95,
        beta2: FloatBelow1 = 0.95,
        epsilon: NonNegativeFloat = 1e-8,
        precondition_frequency: PositiveInt = 10,
        max_precondition_dim: int = 1024,
    ) -> None:
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1):
            raise ConfigError(f"SOAP: beta1 and beta2 must be in [0, 1), got {beta1} and {beta2}")
        if precondition_frequency < 1:
            raise ConfigError(
                f"SOAP: precondition_frequency must be at least 1, got {precondition_frequency}"
            )
        super().__init__(RATE, parameters=parameters)
        self.betas = beta1, beta2
        self.epsilon = epsilon
        self.frequency = precondition_frequency
        self.longest = max_precondition_dim
        self._multi_precision = False  # set by `paddle.amp.decorate`
        self.counts: dict[str, int] = {}  # steps by the parameters' names; on the host, which decides by them

    def _sides(self, parameter: Any) -> list[tuple[str, int]]:
        """Name and length of the sides that get a basis."""
        rows, columns = _matrix_shape(parameter.shape)
        return [(n, side) for n, side in (("left", rows), ("right", columns)) if 1 < side <= self.longest]

    def _create_accumulators(self, block: Any, parameters: Sequence[Any]) -> None:
        for parameter in parameters:
            updated = self._updated(parameter)
            if updated.name in self._accumulators["moment1"]:
                continue
            shape = list(_matrix_shape(parameter.shape))
            for name in ("moment1", "moment2"):
                self._add_accumulator(name, updated, shape=shape)
            for name, side in self._sides(parameter):
                self._add_accumulator(f"{name}_covariance", updated, shape=[side, side])
                self._add_accumulator(f"{name}_basis", updated, shape=[side, side])

    def _updated(self, parameter: Any) -> Tensor:
        """The float32 copy of a parameter in half precision, or the parameter itself."""
        return self._create_master_weight(parameter) if keeps_master_weight(self, parameter) else parameter

    def state_dict(self) -> dict[str, Any]:
        names = (self._updated(parameter).name for parameter in self._parameter_list)
        counts = {f"{name}{_COUNT}": paddle.to_tensor([float(self.counts.get(name, 0))]) for name in names}
        return {**super().state_dict(), **counts}

    def set_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().set_state_dict(state_dict)
        counts = {key: int(value.item()) for key, value in state_dict.items() if key.endswith(_COUNT)}
        self.counts = {key.removesuffix(_COUNT): count for key, count in counts.items()}

    @paddle.no_grad()
    def _append_optimize_op(self, block: Any, parameter_and_gradient: Any) -> None:
        parameter, gradient = parameter_and_gradient
        updated = self._updated(parameter)
        beta1, beta2 = self.betas
        state = {key: held[updated.name] for key, held in self._accumulators.items() if updated.name in held}
        sides = self._sides(parameter)
        g = gradient.astype("float32").reshape(_matrix_shape(parameter.shape))
        count = self.counts.get(updated.name, 0)
        self.counts[updated.name] = count + 1
        for name, _ in sides:
            product = g @ g.T if name == "left" else g.T @ g
            covariance, basis = state[f"{name}_covariance"], state[f"{name}_basis"]
            if not count:
                covariance.set_value(product)
                basis.set_value(paddle.linalg.eigh(product)[1])
                continue
            covariance.set_value(covariance * beta2 + product * (1 - beta2))
            if count % self.frequency == 0:  # one power iteration from the basis before
                basis.set_value(paddle.linalg.qr(covariance @ basis)[0])
        if not count:  # in its own bases a gradient is diagonal, and all else would be rounding
            return
        m = state["moment1"] * beta1 + g * (1 - beta1)
        v = state["moment2"] * beta2 + self._rotate(g, state).square() * (1 - beta2)
        state["moment1"].set_value(m)
        state["moment2"].set_value(v)
        step = self._rotate(m, state) / ((v / (1 - beta2**count)).sqrt() + self.epsilon)
        step = self._rotate(step, state, back=True).reshape(parameter.shape)
        rate = self.get_lr() / (1 - beta1**count)
        updated.set_value(updated - rate * step)
        if updated is not parameter:
            parameter.set_value(updated.astype(parameter.dtype))

    def _rotate(self, matrix: Tensor, state: dict[str, Tensor], *, back: bool = False) -> Tensor:
        """Into the bases, or back out of them."""
        if "left_basis" in state:
            matrix = paddle.matmul(state["left_basis"], matrix, transpose_x=not back)
        if "right_basis" in state:
            matrix = paddle.matmul(matrix, state["right_basis"], transpose_y=back)
        return matrix


def _matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns; a vector is one row."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))
