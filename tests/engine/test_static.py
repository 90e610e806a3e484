"""Training on traced graphs."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.engine.helpers import make_trainer, write_config


def _train(folder, overrides):
    trainer = make_trainer(write_config(folder, gan=True), folder / "run", ["total_iters=2", *overrides])
    losses = []
    step = trainer.state.train_step
    run = step.run
    step.run = lambda *args, **options: losses.append(run(*args, **options)) or losses[-1]
    assert trainer.train() == 0
    return losses, trainer.state.model.nets


@pytest.mark.slow
def test_traced_training_gives_the_losses_and_weights_of_dynamic_training(tmp_path):
    expected, nets = _train(tmp_path / "dynamic", [])
    got, traced = _train(tmp_path / "static", ["step.to_static=true"])
    for a, b in zip(got, expected, strict=True):
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert value == pytest.approx(b[name], rel=1e-3, abs=1e-6), name
    for name, net in nets.items():
        assert "forward" not in traced[name].__dict__  # a network is itself again after the step
        other = dict(traced[name].named_parameters())
        for key, parameter in net.named_parameters():
            # a step of Adam is as long as the rate, 1e-3: a tenth of it tells right from wrong
            difference = np.abs(parameter.numpy() - other[key].numpy())
            assert np.median(difference) <= 1e-4, (name, key)


def test_channels_last_says_where_it_has_no_effect(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ppsr"):
        make_trainer(write_config(tmp_path), tmp_path / "run", ["step.channels_last=true"])
    assert "channels_last has an effect on a GPU" in caplog.text
