"""Schedules against their formulas."""

import pytest

from ppsr.errors import ConfigError
from ppsr.registry import LRSCHEDULERS


def _build(name, learning_rate=1.0, **options):
    return LRSCHEDULERS.build({"name": name, "learning_rate": learning_rate, **options})


def test_schedules_know_where_they_are_over():
    cosine = {"name": "CosineAnnealingRestartLR", "periods": [250, 500], "restart_weights": [1, 1]}
    linear = {"name": "LinearDecay", "start_epoch": 3, "decay_epochs": 2, "iters_per_epoch": 10}
    for options, end in ((cosine, 750), (linear, 50)):
        schedule = _build(**options)
        assert schedule.end == end
        assert schedule(end - 1) > schedule(end) == schedule(10_000)
    assert _build("ConstantLR").end is None


def test_warm_up_is_linear_and_reaches_the_rate():
    schedule = _build("ConstantLR", warmup_iters=4)
    assert [schedule(s) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_unequal_periods_and_an_unknown_name_are_refused():
    with pytest.raises(ConfigError, match="the same length"):
        _build("CosineAnnealingRestartLR", periods=[1, 2], restart_weights=[1])
    with pytest.raises(ConfigError, match="did you mean 'MultiStepDecay'"):
        _build("MultiStepDecy")


@pytest.mark.parametrize(
    "options",
    [
        {"name": "CosineAnnealingRestartLR", "periods": [], "restart_weights": []},
        {"name": "CosineAnnealingRestartLR", "periods": [0]},
        {"name": "LinearDecay", "start_epoch": 1, "decay_epochs": -1},
        {"name": "LinearDecay", "start_epoch": -1, "decay_epochs": 1},
        {"name": "LinearDecay", "start_epoch": 1, "decay_epochs": 1, "iters_per_epoch": 0},
        {"name": "MultiStepDecay", "milestones": [1], "gamma": -1},
        {"name": "NonLinearDecay", "lr_decay": -1},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="must be"):
        _build(**options)
