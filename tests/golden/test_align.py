"""Simple-Align against the released code: the loss in both precisions, and a whole training step."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.criterions.alignment import AlignmentLoss, fourier_features, statistics_distance
from ppsr.engine.step import TrainStep
from ppsr.models.align import AlignModel
from ppsr.models.base import Batch
from ppsr.solver.optimizers import build_optimizers
from ppsr.solver.schedules import ConstantLR
from ppsr.weights.loading import load_state
from tests.golden.files import Golden, assert_close, golden

# published class -> ours, with the arguments that differ
NETWORKS = {"MSRResNet_detailss": "MSRResNet", "MSRResNet": "MSRResNet", "RRDBNet": "RRDBNet"}


def tensors(file: Golden, dtype: str) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """Features, frequencies (B, 1) and phases (B, 1, C)."""
    features, w, u = (file[f"input/{k}"].astype(dtype) for k in ("features", "rff_w", "rff_u"))
    return paddle.to_tensor(features), paddle.to_tensor(w[:, None]), paddle.to_tensor(u[:, None])


@golden("functions_reflash_align*")
@pytest.mark.smoke
def test_parts_of_the_loss_equal_the_released_functions(path: Path) -> None:
    file = Golden(path)
    features, w, u = tensors(file, "float64")
    views = features.mean(axis=[2, 3]).chunk(2)
    centred = [view - view.mean(axis=0, keepdim=True) for view in views]
    for index, view in enumerate(centred, 1):
        assert_close(view.numpy(), file[f"output/centred_view{index}"], atol=1e-12, what=f"view {index}")
    mapped = [fourier_features(view, w, u) for view in centred]
    stacked = np.stack([m.numpy()[:, 0] for m in mapped], axis=1)
    assert_close(stacked, file["output/rff"], atol=1e-9, what="Fourier features")
    per_pair = file["output/per_pair"]
    assert_close(statistics_distance(*centred).numpy(), per_pair[:, 0], atol=1e-9, what="linear")
    assert_close(statistics_distance(*mapped)[:, 0].numpy(), per_pair[:, 1], atol=1e-9, what="non-linear")
    for column, (first, second) in ((2, centred), (3, (m[:, 0] for m in mapped))):
        means = (first - second).square().mean(axis=1)
        assert_close(means.numpy(), per_pair[:, column], atol=1e-9, what=f"mean part {column}")


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 1e-4)])
@golden("functions_reflash_align*")
def test_losses_and_gradients_equal_the_released_functions(path: Path, dtype: str, rtol: float) -> None:
    file = Golden(path)
    features, w, u = tensors(file, dtype)
    weight = file.meta["weight"]
    criterion = AlignmentLoss(linear_weight=weight, nonlinear_weight=weight)
    suffix = "_f32" if dtype == "float32" else ""
    gradients = {}
    for name in ("l_reg", "n_reg", "total"):
        leaf = features.detach()
        leaf.stop_gradient = False
        losses = criterion(*leaf.mean(axis=[2, 3]).chunk(2), frequencies=w, phases=u)
        for key in ("l_reg", "n_reg"):
            assert_close(losses[key].numpy(), file[f"output/{key}{suffix}"], rtol=rtol, what=key)
        (sum(losses.values()) if name == "total" else losses[name]).backward()
        gradients[name] = leaf.grad.numpy()[:, :, 0, 0]
    assert_close(gradients["total"], file[f"output/grad_total{suffix}"], rtol=rtol, what="gradient")
    if not suffix:
        assert_close(gradients["l_reg"], file["output/grad_linear"], rtol=rtol, what="linear gradient")
        assert_close(gradients["n_reg"], file["output/grad_nonlinear"], rtol=rtol, what="Fourier gradient")


class RecordedDraws(AlignmentLoss):
    """The loss with the random numbers of the file."""

    def __init__(self, file: Golden) -> None:
        weight = float(file.meta["weight"])
        super().__init__(linear_weight=weight, nonlinear_weight=weight)
        self.draws = {
            "frequencies": paddle.to_tensor(file["input/rff_w"][:, None]),
            "phases": paddle.to_tensor(file["input/rff_u"][:, None]),
        }

    def __call__(self, view1, view2, **_):
        return super().__call__(view1, view2, **self.draws)


@golden("reflash_align_step_*")
def test_training_step_equals_the_released_one(path: Path) -> None:
    file = Golden(path)
    kwargs = dict(file.meta["kwargs"])
    name = NETWORKS[file.meta["network"]]
    if name == "MSRResNet":
        blocks = {k.split(".")[0] for k in file.params if k.startswith("body") and k[4].isdigit()}
        kwargs["num_block"] = len(blocks) or kwargs.get("num_block", 16)
    model = AlignModel(
        generator={"name": name, **kwargs},
        feature_layer="feat_last",
        align_criterion={"name": "AlignmentLoss"},
        pixel_criterion={"name": "L1Loss"},
    )
    model.terms = [
        replace(term, criterion=RecordedDraws(file)) if term.label == "l_align" else term
        for term in model.terms
    ]
    net = model.nets["generator"]
    mapping = getattr(net, "map_published_keys", lambda state: state)
    load_state(net, mapping(file.params), layout="torch")
    view1, view2 = np.split(file["input/lq"], 2)
    arrays = {"lq": view1, "lq_view2": view2, "gt": file["input/gt"]}
    batch = model.prepare(Batch({k: paddle.to_tensor(v) for k, v in arrays.items()}))
    losses = model.generator_losses(batch)
    for key in ("l_pix", "l_reg", "n_reg"):
        # the alignment terms are differences of nearly equal numbers of order one, times the weight
        atol = 0 if key == "l_pix" else 3e-8 * file.meta["weight"]
        assert_close(float(losses[key]), file[f"output/{key}"], rtol=1e-4, atol=atol, what=key)
    assert_close(float(sum(losses.values())), file["output/total"], rtol=1e-4, what="total")
    assert_close(batch["sr"].numpy(), file["output/sr"], rtol=1e-4, what="SR")
    pooled = paddle.concat([batch["view1"], batch["view2"]]).numpy()
    assert_close(pooled, file["output/gap"], rtol=1e-4, what="pooled feature")
    sum(losses.values()).backward()
    parameters = dict(net.named_parameters())
    gradients = mapping(file.group("output/grad"))
    assert gradients
    ours = {key: parameter.grad.numpy() for key, parameter in parameters.items()}
    for key, expected in gradients.items():
        assert_close(ours[key], expected, rtol=1e-3, atol=1e-7, what=key)

    net.clear_gradients()
    adam = {"name": "Adam", "net_names": ["generator"], "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8}
    step = TrainStep(
        model=model,
        optimizers=build_optimizers({"optimG": adam}, model.nets),
        schedules=defaultdict(lambda: ConstantLR(learning_rate=2e-4)),
    )
    step.run([Batch({k: paddle.to_tensor(v) for k, v in arrays.items()})], 0, seed=0)
    for key, expected in mapping(file.group("output/after_adam")).items():
        # the first step of Adam is a sign where the gradient is large, and noise where it is tiny
        steady = np.abs(ours[key]) >= 1e-6
        assert_close(parameters[key].numpy()[steady], expected[steady], atol=2e-6, what=f"{key} after Adam")
