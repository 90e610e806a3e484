"""Adam and Momentum that update all parameters with one operation."""

from __future__ import annotations

from typing import Any

import paddle


class _MultiTensor(paddle.optimizer.Optimizer):
    """An optimizer of Paddle with `use_multi_tensor=True`, for parameters of which some may have no gradient.

    Paddle lists the parameters at the first step, and from then on pairs the first gradient with the first of
    them, whichever parameters have one. Here they are listed again when others have a gradient, and when a
    state was loaded.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, use_multi_tensor=True, **options)
        self._listed: list[str] | None = None

    def _create_optimization_pass(self, parameters_and_grads: Any, *arguments: Any, **options: Any) -> Any:
        names = [parameter.name for parameter, _ in parameters_and_grads]
        if names != self._listed:
            self._listed = names
            lists = self._create_multi_tensor_dict()
            for key, value in vars(self).items():
                if isinstance(value, dict) and value.keys() == lists.keys():
                    setattr(self, key, self._create_multi_tensor_dict())
            for kind in lists:  # 2.6 calls them otherwise than 3.x
                if kind.startswith("FP32"):
                    self._master_weight_dict[kind] = None
        return super()._create_optimization_pass(parameters_and_grads, *arguments, **options)

    def set_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().set_state_dict(state_dict)
        self._listed = None


# Paddle takes the operation for many tensors where a class has one of these names


class Adam(_MultiTensor, paddle.optimizer.Adam):
    """`paddle.optimizer.Adam`."""


class Momentum(_MultiTensor, paddle.optimizer.Momentum):
    """`paddle.optimizer.Momentum`."""
