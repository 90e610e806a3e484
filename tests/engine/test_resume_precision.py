"""Resuming in every precision with every optimizer.

A CPU has no half-precision kernels for most optimizers, and autocast does nothing there. So parameters are
cast by hand, as `paddle.amp.decorate` does for O2, gradients are given, and the float32 kernel runs on the
master weight, whose rounded value the parameter takes, which is what the kernel on a GPU does. All else
is Paddle's own: creation, names, saving and restoring of master weights and accumulators.
"""

import ast
import inspect
from collections import defaultdict

import numpy as np
import paddle
import pytest
from paddle import _C_ops

from ppsr.config.schema import Precision
from ppsr.engine.state import State
from ppsr.engine.step import TrainStep
from ppsr.models.sr import SRModel
from ppsr.solver.ema import EMA
from ppsr.solver.optimizers import build_optimizers
from ppsr.solver.schedules import ConstantLR
from ppsr.weights import dump_state

KERNELS = {name: f"{name.lower()}_" for name in ("AdamW", "RMSProp", "SGD")}
KERNELS |= {name: f"merged_{name.lower()}_" for name in ("Adam", "Momentum")}


def _arguments(optimizer):
    """What Paddle hands over to the kernel of an optimizer, in order."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(getattr(paddle.optimizer, optimizer))))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    call = next(node for node in calls if ast.unparse(node.func) == f"_C_ops.{KERNELS[optimizer]}")
    return [ast.unparse(argument) for argument in call.args]


def _on_master_weight(kernel, arguments):
    """The kernel for lists of parameters and for single ones."""
    gradient = next(i for i, text in enumerate(arguments) if text in ("grad_dict[key]", "param_and_grad[1]"))
    master, flag = map(arguments.index, ("master_weight", "find_master"))

    def run(*given):
        values = list(given)
        if not values[flag]:
            return kernel(*values)
        many = isinstance(values[0], list)
        parameters, values[0] = values[0], values[master]
        gradients = values[gradient] if many else [values[gradient]]
        gradients = [value.astype("float32") for value in gradients]
        values[gradient] = gradients if many else gradients[0]
        values[master], values[flag] = None, False
        result = kernel(*values)
        pairs = zip(parameters, values[0], strict=True) if many else [(parameters, values[0])]
        for parameter, value in pairs:
            parameter.set_value(value.astype(parameter.dtype))
        return result

    return run


@pytest.fixture(autouse=True)
def half_kernels(monkeypatch):
    for optimizer, name in KERNELS.items():
        kernel = _on_master_weight(getattr(_C_ops, name), _arguments(optimizer))
        monkeypatch.setattr(_C_ops, name, kernel)


def _state(optimizer, level, dtype):
    """A model whose parameters are in half precision where the level is O2."""
    paddle.seed(0)
    model = SRModel(
        generator={"name": "MSRResNet", "num_feat": 2, "num_block": 1, "upscale": 2},
        pixel_criterion={"name": "L1Loss"},
    )
    options = {"weight_decay": 0.1} if optimizer == "AdamW" else {}
    optimizers = build_optimizers({"name": optimizer, "net_names": ["generator"], **options}, model.nets)
    ema = EMA(model.nets, decay=0.5, net_names=["generator"])
    model.ema = ema.nets
    trainer = TrainStep(
        model=model,
        optimizers=optimizers,
        schedules=defaultdict(lambda: ConstantLR(learning_rate=0.01)),
        precision=Precision(amp=level != "float32", level="O1" if level == "float32" else level, dtype=dtype),
        ema=ema,
    )
    if level == "O2":
        model.nets["generator"].to(dtype=dtype)
        optimizers["optim"][0]._multi_precision = True
    return State(model=model, train_step=trainer, seed=0)


def _update(state, count, seed):
    rng = np.random.default_rng(seed)
    (optimizer, _), *_ = state.train_step.optimizers.values()
    for _ in range(count):
        for parameter in state.model.nets["generator"].parameters():
            gradient = paddle.to_tensor(rng.standard_normal(parameter.shape).astype(np.float32))
            parameter.grad = gradient.astype(parameter.dtype)
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        state.train_step.ema.update(state.train_step._master_weights())


def _files(state):
    return {k: v if isinstance(v, bytes) else dump_state(v) for k, v in state.files().items()}


def _contents(state):
    found = {k: v.astype("float32").numpy() for k, v in state.model.nets["generator"].state_dict().items()}
    files = _files(state)
    return found, files["optimizers.pdopt"], files["weights.pdparams"]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [*KERNELS, "SOAP"])
@pytest.mark.parametrize(
    ("level", "dtype"), [("float32", "float16"), ("O1", "float16"), ("O2", "float16"), ("O2", "bfloat16")]
)
def test_a_resumed_run_equals_the_uninterrupted_one(level, dtype, optimizer):
    straight = _state(optimizer, level, dtype)
    _update(straight, 3, 1)
    files = _files(straight)
    _update(straight, 3, 2)

    resumed = _state(optimizer, level, dtype)
    resumed.restore(files)
    _update(resumed, 3, 2)
    ours, theirs = _contents(resumed), _contents(straight)
    for key, value in theirs[0].items():
        np.testing.assert_array_equal(ours[0][key], value, err_msg=key)
    assert ours[1:] == theirs[1:]
    masters = resumed.train_step.optimizers["optim"][0]._master_weights
    assert bool(masters) == (level == "O2")


@pytest.mark.parametrize(("before", "after"), [("float32", "O2"), ("O2", "float32")])
def test_a_run_may_change_its_precision_when_it_is_resumed(before, after):
    first = _state("Adam", before, "bfloat16")
    _update(first, 3, 1)
    second = _state("Adam", after, "bfloat16")
    second.restore(_files(first))
    _update(second, 1, 2)
    _update(first, 1, 2)
    for key, value in first.model.nets["generator"].state_dict().items():
        ours = second.model.nets["generator"].state_dict()[key]
        # one of both was rounded to the 8 bits of bfloat16
        np.testing.assert_allclose(ours.astype("float32"), value.astype("float32"), atol=0.01, rtol=2**-7)
