"""Which networks run in half precision; a stand-in notes the nesting of autocast, which a CPU ignores."""

import contextlib
import logging
from collections import defaultdict

import numpy as np
import paddle
import pytest

from ppsr.config.schema import Precision
from ppsr.engine.step import TrainStep
from ppsr.errors import ConfigError
from ppsr.models.base import Batch
from ppsr.models.sr import SRModel
from ppsr.models.terms import Term
from ppsr.solver.optimizers import build_optimizers, build_schedules
from ppsr.solver.schedules import ConstantLR
from tests.engine.helpers import make_trainer, write_config


@pytest.mark.parametrize(
    ("safe", "types", "dtype", "taken", "autocast"),
    [
        (True, ["float16", "bfloat16"], "float16", "float16", True),
        (False, ["float16", "bfloat16"], "float16", "bfloat16", True),
        (False, ["float16", "bfloat16"], "bfloat16", "bfloat16", True),
        (False, ["float16"], "float16", "float16", False),
    ],
)
def test_a_network_that_leaves_the_range_of_float16_takes_bfloat16_or_runs_without_autocast(
    monkeypatch, caplog, safe, types, dtype, taken, autocast
):
    model = SRModel(
        generator={"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
        pixel_criterion={"name": "L1Loss"},
    )
    net = model.nets["generator"]
    net.fp16_safe = safe
    nesting = [False]

    @contextlib.contextmanager
    def note(enable, **_):
        nesting.append(enable)
        yield
        nesting.pop()

    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(paddle.amp, "auto_cast", note)
    monkeypatch.setattr("ppsr.precision.half_types", lambda device: types)
    seen = []
    net.conv_first.register_forward_pre_hook(lambda _, x: seen.append((nesting[-1], x[0].dtype)))
    optimizer = paddle.optimizer.SGD(0.0, parameters=net.parameters())
    with caplog.at_level(logging.INFO, "ppsr"):
        step = TrainStep(
            model=model,
            optimizers={"optimG": (optimizer, ("generator",))},
            schedules=defaultdict(lambda: ConstantLR(learning_rate=1e-4)),
            precision=Precision(amp=True, dtype=dtype),
        )
    assert step.precision.dtype == taken
    assert step.scalers["optimG"].enabled == (taken == "float16")
    assert ("generator stays in float32" in caplog.text) == (not autocast)
    assert ("training in bfloat16" in caplog.text) == (taken != dtype)
    image = paddle.zeros([1, 3, 8, 8], "float32" if autocast else "float16")
    with paddle.amp.auto_cast(True), step._forwards(model.phases()[0]):
        net(image)
    assert seen == [(autocast, paddle.float32)]
    assert "forward" not in net.__dict__


def test_every_optimizer_steps_at_its_own_rate():
    options = {"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
    model = SRModel(
        generator=options,
        discriminator={"name": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 2},
        criterions=[{"name": "L1Loss"}, {"name": "GANLoss"}],
    )
    sections = {
        "optimG": {"name": "SGD", "net_names": ["generator"]},
        "optimD": {"name": "SGD", "net_names": ["discriminator"], "learning_rate": 1000.0},
    }
    step = TrainStep(
        model=model,
        optimizers=build_optimizers(sections, model.nets),
        schedules=build_schedules(sections, {"name": "ConstantLR", "learning_rate": 100.0}),
    )
    weights = {
        "generator": model.nets["generator"].conv_last,
        "discriminator": model.nets["discriminator"].conv9,
    }
    before = {name: layer.weight.numpy().copy() for name, layer in weights.items()}
    gradients = {}
    for name, layer in weights.items():
        layer.weight.register_hook(lambda grad, name=name: gradients.update({name: grad.numpy().copy()}))
    paddle.seed(0)
    step.run([Batch(lq=paddle.rand([1, 3, 8, 8]), gt=paddle.rand([1, 3, 16, 16]))], 0, seed=0)
    assert step.rates(0) == {"optimG": 100.0, "optimD": 1000.0}
    for name, rate in (("generator", 100.0), ("discriminator", 1000.0)):
        moved = before[name] - weights[name].weight.numpy()
        # float32 subtraction of weights of up to 1
        np.testing.assert_allclose(moved, rate * gradients[name], rtol=1e-5, atol=2e-7)
        assert rate * np.abs(gradients[name]).max() > 1e-4


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


@pytest.mark.parametrize("result", [None, 0.5])
def test_a_criterion_that_gives_no_tensor_is_named(tmp_path, result):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", ["total_iters=1"])
    model = trainer.state.model
    model.terms = [Term("l_own", lambda sr, gt: result, ("sr", "gt"))]
    with pytest.raises(ConfigError, match=r"the loss l_own is .* not a tensor"):
        trainer.train()
