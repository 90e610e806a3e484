"""Dynamic loss scaling: Paddle's rule, and its state in checkpoints."""

from __future__ import annotations

import inspect

import paddle
import pytest

from ppsr.solver.gradients import LossScale


def test_the_number_of_steps_is_that_of_paddles_scaler():
    default = inspect.signature(paddle.amp.GradScaler).parameters["incr_every_n_steps"].default
    assert default == LossScale.steps_to_double


@pytest.mark.parametrize("enabled", [True, False])
def test_a_state_comes_back(enabled):
    first, second = LossScale(enabled=enabled), LossScale(enabled=enabled)
    for overflowed in (True, False, True, False, False):
        first.update(overflowed=overflowed)
    second.load_state_dict(first.state_dict())
    assert second.value == first.value
    assert second.steps == (first.steps if enabled else 0)
    assert first.value == (2.0**13 if enabled else 1)


def test_the_scale_grows_after_steps_without_overflow():
    scale = LossScale(enabled=True)
    for _ in range(LossScale.steps_to_double):
        scale.update(overflowed=False)
    assert scale.value == 2.0**16
    assert scale.scale(paddle.ones([])).item() == 2.0**16


def test_the_state_of_paddles_scaler_in_older_checkpoints_is_read():
    scale = LossScale(enabled=True)
    scale.load_state_dict(
        {"scale": [1024.0], "incr_ratio": 2.0, "decr_ratio": 0.5, "incr_count": 7, "decr_count": 0}
    )
    assert (scale.value, scale.steps) == (1024.0, 7)
