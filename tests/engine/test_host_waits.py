"""A step reads its numbers from the device once, and says which of them was not finite."""

import logging
from collections import defaultdict

import numpy as np
import paddle
import pytest

from benchmarks.host_waits import HostWaits
from ppsr.config.schema import StepOptions
from ppsr.engine.distributed import Group
from ppsr.engine.step import TooManySkipsError, TrainStep
from ppsr.models.base import Batch, Phase
from ppsr.registry import build_model
from ppsr.solver.ema import EMA
from ppsr.solver.optimizers import build_optimizers
from ppsr.solver.schedules import ConstantLR

PIXEL = {"pixel_criterion": {"name": "L1Loss"}}
SRRESNET = {"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
GAN = {
    "discriminator": {"name": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 2},
    "gan_criterion": {"name": "GANLoss", "loss_weight": 0.1, "r1_reg_weight": 1.0, "net_d_reg_every": 1},
    "artifact_criterion": {"name": "ArtifactLoss"},
}
MODELS = {
    "luma": {"name": "SRModel", "generator": {"name": "ESPCN", "scale": 2}, **PIXEL},
    "sr": {"name": "SRModel", "generator": SRRESNET, **PIXEL, **GAN},
    "cddnet": {
        "name": "CDDNet",
        "generator": {"name": "CDDNet", "num_feat": 4, "num_block": 1, "num_models": 2, "upscale": 2},
        "predictor": {"name": "DegradationPredictor", "nf": 4, "num_params": 33, "num_networks": 2},
        "regression_criterion": {"name": "CharbonnierLoss"},
        **PIXEL,
        **GAN,
    },
    "drn": {"name": "DRN", "generator": {"name": "DRNGenerator", "scale": [2], "n_blocks": 1, "n_feats": 8}},
    "align": {
        "name": "AlignModel",
        "generator": SRRESNET,
        "feature_layer": "feat_last",
        "align_criterion": {"name": "AlignmentLoss"},
        **PIXEL,
    },
}


def _step(name, **options):
    paddle.seed(0)
    model = build_model(MODELS[name])
    ema = EMA(model.nets, decay=0.9, net_names=["generator"])
    model.ema = ema.nets
    sections = {net: {"name": "Adam", "net_names": [net]} for net in model.nets}
    return TrainStep(
        model=model,
        optimizers=build_optimizers(sections, model.nets),
        schedules=defaultdict(lambda: ConstantLR(learning_rate=1e-3)),
        options=StepOptions(**options),
        ema=ema,
    )


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    sides = {"lq": 8, "lq_view2": 8, "gt": 16}
    batch = {k: paddle.to_tensor(rng.random((2, 3, s, s), np.float32)) for k, s in sides.items()}
    batch["degradation_params"] = paddle.to_tensor(rng.random((2, 33), np.float32))
    batch["paired"] = paddle.to_tensor(np.array([1.0, 0.0], np.float32))
    return Batch(batch)


def _parameters(model):
    return {f"{n}.{k}": v.numpy().copy() for n, net in model.nets.items() for k, v in net.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_a_step_waits_for_the_device_once(name):
    step = _step(name, clip_norm=0.1, accumulate=2)
    step.run([_batch(0), _batch(1)], 0, 0)  # the first step makes accumulators
    batches = [_batch(2), _batch(3)]
    with HostWaits() as waits:
        scalars = step.run(batches, 1, 0)
    assert waits.count <= 1, "\n".join(waits.places)
    assert step.skipped == 0
    assert scalars
    assert all(isinstance(value, float) for value in scalars.values())


@pytest.mark.parametrize("name", MODELS)
def test_a_step_makes_no_copy_that_waits_for_a_gpu(name, monkeypatch, like_a_gpu):
    step = _step(name, clip_norm=0.1)
    step.run([_batch(0)], 0, 0)  # the first step makes constants
    batch = _batch(1)
    monkeypatch.setattr(paddle, "to_tensor", None)
    assert step.run([batch], 1, 0)


def test_waits_of_every_kind_are_counted():
    with HostWaits() as waits:
        one = paddle.ones([])
        _ = float(one), int(one), bool(one), one.item(), one.numpy(), one.tolist(), np.asarray(one)
    assert waits.count == 7
    float(one)
    assert waits.count == 7


def test_a_loss_that_is_not_finite_is_named_and_the_other_phase_learns(caplog, monkeypatch):
    heavy = {"gan_criterion": {"name": "GANLoss", "loss_weight": 1e39}}
    monkeypatch.setitem(MODELS, "sr", {**MODELS["sr"], **heavy})
    step = _step("sr", max_skips=2)
    before = _parameters(step.model)
    with caplog.at_level(logging.WARNING, "ppsr"):
        scalars = step.run([_batch()], 0, 0)
    assert not np.isfinite(scalars["l_g_gan"])
    assert "step 1 skipped: not finite: the loss l_g_gan (1 skipped in all)" in caplog.text
    after = _parameters(step.model)
    moved = {key.split(".")[0] for key, value in after.items() if not np.array_equal(value, before[key])}
    assert moved == {"discriminator"}
    with pytest.raises(TooManySkipsError, match=r"2 steps in a row .* the loss l_g_gan"):
        step.run([_batch()], 1, 0)


def test_the_network_whose_gradient_is_not_finite_is_named(caplog):
    step = _step("cddnet")
    net = step.model.nets["predictor"]
    hook = net.parameters()[0].register_hook(lambda grad: grad * float("nan"))
    before = _parameters(step.model)
    with caplog.at_level(logging.WARNING, "ppsr"):
        step.run([_batch()], 0, 0)
    assert "not finite: the gradient of predictor (" in caplog.text
    for key, value in _parameters(step.model).items():
        if not key.startswith("discriminator"):
            np.testing.assert_array_equal(value, before[key], err_msg=key)
    hook.remove()
    step.run([_batch()], 1, 0)
    assert (step.skipped, step.skipped_in_a_row) == (1, 0)


def test_phases_that_train_the_same_network_follow_each_other():
    step = _step("align")
    net = step.model.nets["generator"]
    values = []

    def losses(batch):
        values.append(net.parameters()[0].numpy().copy())
        return {f"l{len(values)}": net(batch["lq"]).mean()}

    step.model.phases = lambda: [Phase(("generator",), losses)] * 2
    scalars = step.run([_batch()], 0, 0)
    assert set(scalars) == {"l1", "l2"}
    assert not np.array_equal(*values)


class _TwoRanks(Group):
    """The other rank sends the same numbers."""

    def __init__(self):
        super().__init__(0, 2)

    def start_sum(self, tensor):
        tensor.scale_(2)

    def sum(self, values):
        raise AssertionError("a reduction beside those of the gradients")


def test_requests_of_ranks_ride_on_the_reduction_of_a_step():
    step = _step("sr")
    step.group = _TwoRanks()
    assert step.requested is None
    step.run([_batch()], 0, 0, requests=[0.0, 1.0])
    assert step.requested == [0, 2]
    batches = [_batch()]
    with HostWaits() as waits:
        step.run(batches, 1, 0, requests=[1.0, 0.0])
    assert step.requested == [2, 0]
    assert waits.count <= 1, "\n".join(waits.places)
