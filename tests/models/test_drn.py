"""The closed loop: weights of the terms, unpaired samples, and the shared training step against the
goldens."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.criterions.dual_regression import drn_losses
from ppsr.engine.step import TrainStep
from ppsr.errors import ConfigError, DataError
from ppsr.models.base import Batch
from ppsr.models.drn import DRNModel
from ppsr.solver.optimizers import build_optimizers
from ppsr.solver.schedules import ConstantLR
from ppsr.weights.loading import load_state
from tests.golden.files import Golden, assert_close, golden

GENERATOR = {"name": "DRNGenerator", "scale": [2, 4], "n_blocks": 1, "n_feats": 4}


def batch_of(n: int = 3, side: int = 6) -> Batch:
    rng = np.random.default_rng(0)
    sizes = {"lq": 1, "lq_x2": 2, "gt": 4}
    images = {k: rng.random((n, 3, side * f, side * f), np.float32) for k, f in sizes.items()}
    return Batch({k: paddle.to_tensor(v) for k, v in images.items()})


@pytest.mark.parametrize("style", ["original", "paddledepth"])
def test_losses_are_those_of_the_formula_in_the_range_of_the_generator(style: str) -> None:
    model = DRNModel(generator=GENERATOR, style=style)
    batch = batch_of()
    losses = model.losses(batch)
    lr, hr = [batch["lq"] * 255, batch["lq_x2"] * 255], batch["gt"] * 255
    sr = model.nets["generator"](lr[0])
    back = [dual(image) for dual, image in zip(model.duals, sr[1:], strict=True)]
    expected = drn_losses(sr, back, lr, hr, style=style)
    assert set(losses) == {"l_primary", "l_dual"}
    assert float(sum(losses.values())) == pytest.approx(float(expected["total"]), rel=1e-6)
    assert_close(batch["sr"].numpy() * 255, sr[-1].numpy(), rtol=1e-5, what="image in the batch")


def test_unpaired_samples_count_with_the_cycle_alone() -> None:
    model = DRNModel(generator=GENERATOR)
    whole = batch_of()
    flags = np.array([1, 0, 1], np.float32)
    mixed = Batch(whole, paired=paddle.to_tensor(flags))
    losses = model.losses(mixed)
    paired = model.losses(Batch({k: paddle.to_tensor(v.numpy()[[0, 2]]) for k, v in whole.items()}))
    assert float(losses["l_primary"]) == pytest.approx(float(paired["l_primary"]) * 2 / 3, rel=1e-5)
    lq = whole["lq"][1:2] * 255
    cycle = model.nets["generator"](lq)[-1]
    for dual in reversed(model.duals):
        cycle = dual(cycle)
    cycle = (cycle - lq).abs().mean()
    assert float(losses["l_cycle"]) == pytest.approx(0.1 * float(cycle) / 3, rel=1e-5)
    # what stands in place of the missing targets must not matter
    changed = Batch(mixed)
    changed["gt"] = mixed["gt"] * paddle.to_tensor(flags.reshape(-1, 1, 1, 1))
    assert float(sum(model.losses(changed).values())) == pytest.approx(float(sum(losses.values())), rel=1e-6)


def test_a_batch_of_unpaired_samples_alone_trains_too() -> None:
    model = DRNModel(generator=GENERATOR)
    losses = model.losses(Batch(batch_of(2), paired=paddle.zeros([2])))
    assert float(losses["l_primary"]) == float(losses["l_dual"]) == 0
    sum(losses.values()).backward()
    for name in ("dual_model_0", "dual_model_1"):
        assert float(model.nets[name].dual_module[1].weight.grad.abs().max()) > 0


def test_the_host_does_not_wait_for_the_flags(no_waiting: None) -> None:
    losses = DRNModel(generator=GENERATOR).losses(Batch(batch_of(), paired=paddle.to_tensor([1.0, 0.0, 1.0])))
    assert set(losses) == {"l_primary", "l_dual", "l_cycle"}


def test_missing_middle_size_and_wrong_generator_are_named() -> None:
    batch = batch_of()
    del batch["lq_x2"]
    with pytest.raises(DataError, match=r"lq_x2.*PyramidDataset"):
        DRNModel(generator=GENERATOR).losses(batch)
    with pytest.raises(ConfigError, match="SRVGGNetCompact"):
        DRNModel(generator={"name": "SRVGGNetCompact", "num_conv": 1, "num_feat": 4})
    with pytest.raises(ConfigError, match="paddledepth"):
        DRNModel(generator=GENERATOR, style="paddle")


@pytest.mark.slow
@pytest.mark.parametrize("grouping", ["one for each dual", "one for all duals"])
@golden("drn_x[0-9]*")
def test_training_step_follows_the_original_for_three_steps(path: Path, grouping: str) -> None:
    file = Golden(path)
    meta = file.meta
    names = ("scale", "n_blocks", "n_feats", "n_colors", "rgb_range", "negval")
    model = DRNModel(generator={"name": "DRNGenerator", **{k: meta[k] for k in names}})
    load_state(model.nets["generator"], file.params, layout="torch")
    for index, dual in enumerate(model.duals):
        load_state(dual, file.group(f"param_dual/{index}"), layout="torch")
    duals = [f"dual_model_{i}" for i in range(len(model.duals))]
    groups = [[name] for name in duals] if grouping == "one for each dual" else [duals]
    adam = {"name": "Adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    config = {f"optim{i}": {**adam, "net_names": names} for i, names in enumerate([["generator"], *groups])}
    step = TrainStep(
        model=model,
        optimizers=build_optimizers(config, model.nets),
        schedules=defaultdict(lambda: ConstantLR(learning_rate=1e-4)),
    )
    images = {"lq": file["input/lr"], "gt": file["input/hr"]}
    images |= {f"lq_x{2**i}": file[f"input/lr_level{i}"] for i in range(1, len(meta["scale"]))}
    for index, expected in enumerate(file["output/train3_losses"]):
        scaled = {k: paddle.to_tensor(v / np.float32(meta["rgb_range"])) for k, v in images.items()}
        losses = step.run([Batch(scaled)], index, seed=0)
        assert sum(losses.values()) == pytest.approx(float(expected[-1]), rel=1e-4)
    with paddle.no_grad():
        last = model.nets["generator"](paddle.to_tensor(file["input/lr"]))[-1]
    assert_close(last.numpy(), file["output/train3_sr_last"], rtol=5e-4, what="SR after three steps")
