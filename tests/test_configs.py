"""Every config runs: one step that moves every network it trains, and one validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppsr.config import check_config
from ppsr.engine.distributed import Group
from ppsr.engine.stages import load_stages
from ppsr.engine.trainer import Trainer
from ppsr.registry import build_model
from tests.small_configs import CONFIGS, shrunk

every_config = pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def values(net: Any) -> dict[str, np.ndarray]:
    return {name: parameter.numpy() for name, parameter in net.named_parameters()}


@every_config
def test_every_config_takes_a_step_and_validates(path: Path, data: Path, tmp_path: Path) -> None:
    config = shrunk(path, data)
    experiment = check_config(config)
    model = build_model(config["model"])
    load_stages(model, experiment.load)
    trainer = Trainer(config, experiment, model, Group(), tmp_path)
    before = {name: values(net) for name, net in model.nets.items()}
    assert trainer.train() == 0
    assert trainer.state.trainer.skipped == 0
    trained = {name for _, names in trainer.state.trainer.optimizers.values() for name in names}
    assert trained == set(model.nets)
    for name in trained:
        after = values(model.nets[name])
        assert any(not np.array_equal(value, after[key]) for key, value in before[name].items()), name
    if experiment.validate_.metrics:
        assert trainer.state.best is not None
        assert math.isfinite(trainer.state.best)
    else:
        assert list((tmp_path / "visual_test").glob("*.png"))
