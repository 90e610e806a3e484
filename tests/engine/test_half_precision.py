"""Parameters in half precision and loss scaling, as far as a CPU can show them."""

import contextlib
from collections import defaultdict

import numpy as np
import paddle
import pytest

from ppsr.config.schema import Precision, StepOptions
from ppsr.engine.step import TrainStep
from ppsr.models.base import Batch
from ppsr.models.drn import DRNModel
from ppsr.models.sr import SRModel
from ppsr.registry import GENERATORS
from ppsr.solver.ema import EMA
from ppsr.solver.gradients import LossScale
from ppsr.solver.schedules import ConstantLR


def _model():
    return SRModel(
        generator={"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
        pixel_criterion={"name": "L1Loss"},
    )


def _step(model, optimizers, **options):
    return TrainStep(
        model=model,
        optimizers=optimizers,
        schedules=defaultdict(lambda: ConstantLR(learning_rate=0.5)),
        options=StepOptions(**options),
        precision=Precision(level="O2", dtype="bfloat16"),
    )


@pytest.mark.parametrize(
    ("half", "averaged", "wanted"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_only_inference_by_half_precision_parameters_casts_the_images(monkeypatch, half, averaged, wanted):
    model = _model()
    if averaged:
        model.ema = EMA(model.nets, decay=0.5, net_names=["generator"]).nets
    step = _step(model, {})
    if half:
        model.nets["generator"].to(dtype="bfloat16")
    seen = []

    @contextlib.contextmanager
    def note(enable, **options):
        seen.append((enable, options))
        yield

    monkeypatch.setattr(paddle.amp, "auto_cast", note)
    with step.inference():
        pass
    assert seen == [(wanted, {"level": "O2", "dtype": "bfloat16"})]


def test_an_overflow_of_one_optimizer_lowers_the_scale_and_stops_all():
    generator = GENERATORS.get("DRNGenerator").test_args
    model = DRNModel(generator={"name": "DRNGenerator", **generator})
    optimizers = {
        name: (paddle.optimizer.SGD(parameters=net.parameters()), (name,)) for name, net in model.nets.items()
    }
    step = _step(model, optimizers, clip_norm=1.0)
    scaler = LossScale(enabled=True)
    step.scalers = dict.fromkeys(optimizers, scaler)
    before = {name: net.parameters()[0].numpy().copy() for name, net in model.nets.items()}
    weight = model.nets["generator"].parameters()[0]
    hook = weight.register_hook(lambda grad: grad * float("inf"))
    rng = np.random.default_rng(0)
    lq = {f"lq_x{f}": f * 8 for f in model.levels[:-1]} | {"lq": 8, "gt": 8 * model.levels[-1]}
    batch = {k: paddle.to_tensor(rng.random((1, 3, s, s), np.float32)) for k, s in lq.items()}
    step.run([Batch(batch)], 0, 0)
    assert scaler.value == 2.0**14
    assert step.skipped == 0
    for name, net in model.nets.items():
        np.testing.assert_array_equal(net.parameters()[0].numpy(), before[name])
    hook.remove()
    step.run([Batch(batch)], 1, 0)
    assert scaler.value == 2.0**14
    for name, net in model.nets.items():
        assert not np.array_equal(net.parameters()[0].numpy(), before[name])


def _batch():
    rng = np.random.default_rng(0)
    sizes = {"lq": 8, "gt": 16}
    return Batch({k: paddle.to_tensor(rng.random((1, 3, s, s), np.float32)) for k, s in sizes.items()})


def _trained(scaler, **options):
    paddle.seed(0)
    model = _model()
    net = model.nets["generator"]
    optimizer = paddle.optimizer.SGD(parameters=net.parameters())
    step = _step(model, {"optim": (optimizer, ("generator",))}, **options)
    step.scalers = {"optim": scaler}
    step.run([_batch(), _batch()], 0, 0)
    return {key: value.numpy() for key, value in net.state_dict().items()}


@pytest.mark.parametrize("clip_norm", [None, 1e-3])
def test_a_loss_scale_does_not_change_the_step(clip_norm):
    without = _trained(LossScale(enabled=False), clip_norm=clip_norm)
    scaled = _trained(LossScale(enabled=True), clip_norm=clip_norm)
    for key, value in without.items():
        np.testing.assert_allclose(scaled[key], value, rtol=1e-5, atol=1e-7, err_msg=key)


def test_a_gradient_that_overflows_at_any_scale_is_a_skipped_step():
    model = _model()
    net = model.nets["generator"]
    optimizer = paddle.optimizer.SGD(parameters=net.parameters())
    step = _step(model, {"optim": (optimizer, ("generator",))})
    step.scalers = {"optim": LossScale(enabled=True)}
    net.parameters()[0].register_hook(lambda grad: grad * float("nan"))
    for number in range(17):
        step.run([_batch()], number, 0)
    assert step.skipped == 2  # the scale falls below 1 at the sixteenth halving of 2**15
