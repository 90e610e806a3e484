"""MSRResNet and RRDBNet against the released code: outputs, last features, dropout with recorded masks."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.compat.options.basicsr import published_network
from ppsr.registry import GENERATORS
from ppsr.weights.loading import load_state
from tests.golden.files import Golden, assert_close, golden

DETAILS_BLOCKS = 16  # the released "details" classes ignore num_block


def build(case: Golden):
    name = case.meta["network"]
    ours, fixed = published_network(name)  # the released classes have the place of dropout in their names
    options = {**case.meta.get("kwargs", {}), **fixed}
    if "details" in name:
        options["num_block"] = DETAILS_BLOCKS
    if "dropout" in case.meta:
        kind = "channel" if case.meta["dropout"]["kind"] == "Dropout2d" else "element"
        options["dropout"] = {
            "positions": ["last"],
            **options.get("dropout", {}),
            "type": kind,
            "p": case.meta["dropout"]["p"],
        }
    cls = GENERATORS.get(ours)
    net = cls(**options)
    state = case.params
    if hasattr(cls, "map_published_keys"):
        state = cls.map_published_keys(state)
    load_state(net, state, layout="torch")
    net.eval()
    return net


@golden("reflash_msrresnet_*", "reflash_rrdbnet_*")
@pytest.mark.smoke
def test_output_and_last_features_equal_the_released_code(path: Path) -> None:
    case = Golden(path)
    net = build(case)
    seen = []
    net.feat_last.register_forward_post_hook(lambda _layer, _inputs, output: seen.append(output))
    with paddle.no_grad():
        y = net(paddle.to_tensor(case["input/x"]))
    assert_close(y.numpy(), case["output/y"], atol=1e-5, rtol=1e-5, what="output")
    means = seen[0].numpy().mean(axis=(2, 3), dtype=np.float64)
    assert_close(means, case["output/feat_before_last_gap"], atol=1e-6, rtol=1e-5, what="feature means")


@golden("reflash_msrresnet_*", "reflash_rrdbnet_*")
def test_training_output_with_the_recorded_mask_equals_the_released_code(path: Path) -> None:
    case = Golden(path)
    net = build(case)
    net.train()
    if "input/dropout_mask" not in case:
        with paddle.no_grad():
            y = net(paddle.to_tensor(case["input/x"]))
        assert_close(y.numpy(), case["output/y"], atol=1e-5, rtol=1e-5, what="training without dropout")
        return
    mask = paddle.to_tensor(case["input/dropout_mask"].astype(np.float32))
    drawn = []

    def recorded(x):
        drawn.append(net.dropout.drop.__class__.draw_mask(net.dropout.drop, x))
        return mask

    net.dropout.drop.draw_mask = recorded
    with paddle.no_grad():
        y = net(paddle.to_tensor(case["input/x"]))
    assert len(drawn) == 1
    assert list(drawn[0].shape) == list(mask.shape)
    assert_close(y.numpy(), case["output/y_train"], atol=2e-5, rtol=1e-5, what="training output")
