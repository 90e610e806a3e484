"""Every config runs: one step that moves every network it trains, one validation, one export."""

import json
import math
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.host_waits import HostWaits
from ppsr.config import check_config, load_config
from ppsr.engine.distributed import Group
from ppsr.engine.stages import load_stages
from ppsr.engine.trainer import Trainer
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export.artifact import REFERENCE_SUFFIX, ReferenceOutputs
from ppsr.inference.export.writer import export_network
from ppsr.registry import GENERATORS, build_model
from tests.small_configs import CONFIGS, shrink_networks, shrunk

every_config = pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def values(net: Any) -> dict[str, np.ndarray]:
    return {name: parameter.numpy() for name, parameter in net.named_parameters()}


def host_waits_per_step(trainer: Trainer) -> list[int]:
    """Takes in how often each step of a run waits for the device."""
    run, counts = trainer.state.train_step.run, []

    def counted(*arguments: Any, **options: Any) -> Any:
        with HostWaits() as waits:
            scalars = run(*arguments, **options)
        counts.append(waits.count)
        return scalars

    trainer.state.train_step.run = counted  # type: ignore[method-assign]
    return counts


@pytest.mark.slow
@every_config
def test_every_config_takes_a_step_and_validates(path: Path, data: Path, tmp_path: Path) -> None:
    config = shrunk(path, data)
    experiment = check_config(config)
    model = build_model(config["model"])
    load_stages(model, experiment.load)
    trainer = Trainer(config, experiment, model, Group(), tmp_path)
    before = {name: values(net) for name, net in model.nets.items()}
    waits = host_waits_per_step(trainer)
    assert trainer.train() == 0
    assert max(waits) <= 1
    assert trainer.state.train_step.skipped == 0
    trained = {name for _, names in trainer.state.train_step.optimizers.values() for name in names}
    assert trained == set(model.nets)
    for name in trained:
        after = values(model.nets[name])
        assert any(not np.array_equal(value, after[key]) for key, value in before[name].items()), name
    if experiment.validate_.metrics:
        assert trainer.state.best is not None
        assert math.isfinite(trainer.state.best)
    else:
        assert list((tmp_path / "visual_test").glob("*.png"))


TRAINING = ("drop_path_rate", "column_dropout", "row_dropout", "train_mean_shift")


def exported(options: dict[str, Any]) -> dict[str, Any]:
    """What a network is exported by: without defaults, and without what acts in training alone."""
    defaults = {k: p.default for k, p in signature(GENERATORS.get(options["name"])).parameters.items()}
    changed = {k: v for k, v in options.items() if k not in TRAINING and defaults.get(k) != v}
    return {**changed, "dropout": bool(changed.get("dropout"))}


def inference_networks() -> dict[str, dict[str, Any]]:
    """The shrunk model of every config by the first config that exports the same networks."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        model = load_config(path)["model"]
        shrink_networks(model)
        networks = [exported(model[role]) for role in ("generator", "predictor") if model.get(role)]
        found.setdefault(json.dumps(networks, sort_keys=True), (path.stem, model))
    return dict(found.values())


MODELS = inference_networks()


@pytest.mark.slow
@pytest.mark.parametrize("stem", MODELS)
def test_the_networks_of_every_config_export_and_stay_equal(stem: str, tmp_path: Path) -> None:
    training_only = ("perceptual_criterion", "gan_criterion", "discriminator", "artifact_criterion")
    model = build_model({k: v for k, v in MODELS[stem].items() if k not in training_only})
    export = export_network(model.inference_net(), tmp_path / "net", formats=["paddle"], verify=())
    backend = open_backend(export.prefix, "inference", BackendOptions(onednn=False))
    assert ReferenceOutputs.load(export.path(REFERENCE_SUFFIX)).compare(backend.run)[0] <= 1e-5
