"""The alignment regulariser around any network."""

import numpy as np
import paddle
import pytest

from ppsr.criterions.alignment import AlignmentLoss
from ppsr.errors import ConfigError, DataError
from ppsr.models.align import AlignModel
from ppsr.models.base import Batch
from ppsr.registry import GENERATORS


def make(generator: str = "MSRResNet", **options) -> AlignModel:
    arguments = {"feature_layer": "feat_last", "align_criterion": {"name": "AlignmentLoss"}}
    arguments |= {"pixel_criterion": {"name": "L1Loss"}, **options}
    return AlignModel(generator={"name": generator, **GENERATORS.get(generator).test_args}, **arguments)


def batch_of(n: int = 3, side: int = 8, scale: int = 2) -> Batch:
    rng = np.random.default_rng(0)
    sizes = {"lq": side, "lq_view2": side, "gt": side * scale}
    return Batch({k: paddle.to_tensor(rng.random((n, 3, s, s), np.float32)) for k, s in sizes.items()})


@pytest.mark.parametrize(
    ("generator", "layer", "axis"),
    [("RRDBNet", "conv_body", 1), ("SRVGGNetCompact", "body.1", 1), ("DRCT", "layers.0", -1)],
)
def test_any_layer_of_any_network_is_aligned(generator: str, layer: str, axis: int) -> None:
    model = make(generator, feature_layer=layer, feature_axis=axis)
    batch = model.prepare(batch_of(scale=model.nets["generator"].scale))
    losses = model.generator_losses(batch)
    assert set(losses) == {"l_pix", "l_reg", "n_reg"}
    (losses["l_reg"] + losses["n_reg"]).backward()
    gradients = [p.grad for p in model.nets["generator"].parameters() if p.grad is not None]
    assert any(float(g.abs().max()) > 0 for g in gradients)


def test_equal_views_and_single_pairs_cost_nothing() -> None:
    rng = np.random.default_rng(1)
    view = paddle.to_tensor(rng.random((4, 6), np.float32))
    assert all(float(v) == 0 for v in AlignmentLoss()(view, view).values())
    one, other = (paddle.to_tensor(rng.random((1, 6), np.float32)) for _ in range(2))
    assert float(AlignmentLoss(nonlinear_weight=0)(one, other)["l_reg"]) == 0


def test_weight_starts_and_rises_as_configured() -> None:
    model = make(align_start=10, align_warmup=4)
    weights = []
    for model.step in (0, 9, 10, 12, 14, 100):
        weights.append(next(term for term in model.terms if term.label == "l_align").factor(model.step))
    assert weights == pytest.approx([0, 0, 0.2, 0.6, 1, 1])
    model.step = 0
    assert set(model.generator_losses(model.prepare(batch_of()))) == {"l_pix"}


def test_reduction_and_number_of_frequencies() -> None:
    rng = np.random.default_rng(2)
    one, other = (paddle.to_tensor(rng.random((5, 6), np.float32)) for _ in range(2))
    summed = AlignmentLoss(nonlinear_weight=0)(one, other)["l_reg"]
    mean = AlignmentLoss(nonlinear_weight=0, reduction="mean")(one, other)["l_reg"]
    assert float(summed) == pytest.approx(5 * float(mean), rel=1e-6)
    w = paddle.to_tensor(rng.standard_normal((5, 2)).astype(np.float32))
    u = paddle.to_tensor(rng.random((5, 2, 6), np.float32))
    both = AlignmentLoss(linear_weight=0, num_features=2)(one, other, frequencies=w, phases=u)["n_reg"]
    apart = [
        AlignmentLoss(linear_weight=0)(one, other, frequencies=w[:, i : i + 1], phases=u[:, i : i + 1])
        for i in range(2)
    ]
    assert float(both) == pytest.approx(float(sum(a["n_reg"] for a in apart)) / 2, rel=1e-5)


def test_copies_of_the_network_carry_no_hook() -> None:
    model = make()
    model.generator_losses(model.prepare(batch_of()))
    assert not model.nets["generator"].feat_last._forward_post_hooks


def test_missing_view_and_unknown_layer_are_named() -> None:
    batch = batch_of()
    del batch["lq_view2"]
    with pytest.raises(DataError, match="views: 2"):
        make().prepare(batch)
    with pytest.raises(ConfigError, match="feat_last"):
        make(feature_layer="feat_lost")
    with pytest.raises(ConfigError, match="reduction"):
        AlignmentLoss(reduction="max")


def test_a_layer_that_is_computed_again_in_backward_is_refused() -> None:
    options = {**GENERATORS.get("DRCT").test_args, "use_checkpoint": True}
    criteria = {"align_criterion": {"name": "AlignmentLoss"}, "pixel_criterion": {"name": "L1Loss"}}
    for layer, works in (("layers.0", True), ("layers.0.adjust5", False)):
        model = AlignModel(generator={"name": "DRCT", **options}, feature_layer=layer, **criteria)
        model.nets["generator"].train()
        batch = model.prepare(batch_of(scale=model.nets["generator"].scale))
        if works:
            assert not model.generator_losses(batch)["n_reg"].stop_gradient
        else:
            with pytest.raises(ConfigError, match="use_checkpoint"):
                model.generator_losses(batch)


def test_a_layer_that_is_never_called_is_refused() -> None:
    model = make(feature_layer="body")  # a list of blocks
    with pytest.raises(ConfigError, match="the layer 'body' has no output"):
        model.generator_losses(model.prepare(batch_of()))


def test_a_traced_network_is_refused() -> None:
    model = make()
    net = model.nets["generator"]
    net.forward = paddle.jit.to_static(net.forward, full_graph=True)
    with pytest.raises(ConfigError, match="to_static"):
        model.generator_losses(model.prepare(batch_of()))
