"""Attention networks, whose operations are joined, against the same networks by Paddle's single operators."""

import numpy as np
import paddle
import pytest

import ppsr
from ppsr import accelerate
from ppsr.accelerate import products, tokens
from ppsr.generators.swinir import SwinBlock

pytestmark = pytest.mark.skipif(not accelerate.is_enabled(), reason="oneDNN is not usable or switched off")


@pytest.fixture(autouse=True)
def any_size_is_worthwhile(monkeypatch):
    for module in (products, tokens):
        monkeypatch.setattr(module, "_WORTHWHILE", 0)


@pytest.mark.parametrize("name", ["SwinIR", "HAT", "DRCT"])
@pytest.mark.parametrize("drop_path_rate", [0.0, 0.5])
def test_networks_with_joined_operations_equal_single_operators(name, drop_path_rate, rng):
    paddle.seed(1)
    options = {"img_size": 8, "window_size": 4, "embed_dim": 24, "depths": [3, 3], "num_heads": [4, 4]}
    options |= {"mlp_ratio": 2, "upscale": 2, "upsampler": "pixelshuffle", "drop_path_rate": drop_path_rate}
    options |= {"gc": 8} if name == "DRCT" else {}
    options |= {"squeeze_factor": 6} if name == "HAT" else {}
    net = ppsr.build_generator(name, **options)
    x = paddle.to_tensor(rng.random((2, 3, 8, 12), np.float32))
    weights = paddle.to_tensor(rng.standard_normal((2, 3, 16, 24), np.float32))

    def results():
        paddle.seed(2)
        net.clear_gradients()
        y = net(x)
        (y * weights).sum().backward()
        return {"y": y.numpy()} | {key: value.grad.numpy() for key, value in net.named_parameters()}

    found, again = results(), results()
    with accelerate.disabled():
        expected = results()
    for key, value in expected.items():
        assert found[key].tobytes() == again[key].tobytes(), key
        assert np.abs(found[key] - value).max() <= 2e-5 * max(np.abs(value).max(), 1e-3), key
    with paddle.no_grad():
        paddle.seed(2)
        assert net(x).numpy().tobytes() == found["y"].tobytes()


@pytest.mark.parametrize("inner", ["attn", "attn.proj", "mlp.fc2", "drop_path"])
def test_hooks_on_layers_that_are_joined_to_others_are_called(inner, rng):
    block, seen = SwinBlock(12, 2, 4, 2, 2.0), []
    x = paddle.to_tensor(rng.standard_normal((2, 8, 8, 12), np.float32))
    whole = block(x).numpy()
    layer = dict(block.named_sublayers())[inner]
    layer.register_forward_post_hook(lambda layer, inputs, output: seen.append(output.shape))
    np.testing.assert_allclose(block(x).numpy(), whole, rtol=0, atol=1e-5)
    assert seen
