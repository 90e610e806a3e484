"""Networks for luma on colour images: in memory, on the training device, while upscaling."""

import numpy as np
import paddle
import pytest

from ppsr.generators.apply import super_resolve
from ppsr.imaging.frames import make_frame, upright_pixels
from ppsr.imaging.luma import on_luma, rgb_to_ycbcr
from ppsr.imaging.resize import matlab_resize
from ppsr.inference.upscaler import Upscaler
from ppsr.models.base import Batch
from ppsr.registry import build_generator, build_model


@pytest.fixture
def image(rng):
    return rng.random((9, 7, 3), dtype=np.float32)


def batch_of(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def rgb_to_y(image: np.ndarray) -> np.ndarray:
    """MATLAB's rgb2ycbcr."""
    return (image @ np.array([65.481, 128.553, 24.966]) + 16) / 255


def test_result_has_the_networks_y_and_bicubic_chroma(image):
    seen = []

    def enlarge(y):
        seen.append(y)
        return np.repeat(np.repeat(y, 3, axis=2), 3, axis=3) * 0.5

    sr = on_luma(enlarge, batch_of(image), 3)
    assert sr.dtype == np.float32
    ycbcr, source = (rgb_to_ycbcr(batch)[0].transpose(1, 2, 0) for batch in (sr, batch_of(image)))
    np.testing.assert_allclose(seen[0][0, 0], rgb_to_y(image), atol=1e-6)
    np.testing.assert_allclose(ycbcr[..., 0], enlarge(seen[0])[0, 0], atol=1e-5)
    chroma = matlab_resize(source[..., 1:], 3)
    np.testing.assert_allclose(ycbcr[..., 1:], chroma, atol=1e-5)


@pytest.mark.parametrize("kwargs", [{"name": "FSRCNN", "scale": 3}, {"name": "ESPCN", "scale": 2}])
def test_tensors_and_the_upscaler_agree(image, kwargs):
    paddle.seed(0)
    options = dict(kwargs)
    net = build_generator(options.pop("name"), **options)
    net.eval()
    sr = super_resolve(net, paddle.to_tensor(batch_of(image))).numpy()
    by_array = on_luma(lambda y: net(paddle.to_tensor(y)).detach().numpy(), batch_of(image), net.scale)
    np.testing.assert_allclose(sr, by_array, atol=1e-6)
    upscaler = Upscaler(net)
    expected = np.clip(sr, 0, 1)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(upscaler(image), expected, atol=1e-6)
    np.testing.assert_allclose(Upscaler(net, tile=5)(image), expected, atol=2e-6)


def test_gray_images_reach_the_network_in_the_range_of_y(rng):
    """A gray image and the same one as RGB give one result."""
    paddle.seed(1)
    net = build_generator("ESPCN", scale=2)
    upscaler = Upscaler(net)
    gray = rng.random((8, 8), dtype=np.float32) * 0.5 + 0.25
    as_rgb = upscaler(np.repeat(gray[..., None], 3, axis=2))
    np.testing.assert_allclose(upscaler(gray), as_rgb @ np.float32([0.299, 0.587, 0.114]), atol=1e-6)


def test_gradients_go_through_the_colour_conversion(image):
    net = build_generator("ESPCN", scale=2)
    x = paddle.to_tensor(batch_of(image), stop_gradient=False)
    on_luma(net, x, 2, paddle.to_tensor).square().mean().backward()
    assert np.abs(x.grad.numpy()).min(axis=(0, 2, 3)).max() > 0


def test_training_sees_y_alone(image):
    cfg = {"name": "SRModel", "generator": {"name": "FSRCNN", "scale": 2, "d": 8, "s": 4, "m": 1}}
    model = build_model({**cfg, "pixel_criterion": {"name": "MSELoss"}})
    lq = paddle.to_tensor(batch_of(image))
    batch = model.prepare(Batch({"lq": lq, "gt": paddle.tile(lq, [1, 1, 2, 2])}))
    assert [batch[name].shape[1] for name in ("lq", "gt")] == [1, 1]
    np.testing.assert_allclose(batch["gt"].numpy()[0, 0, :9, :7], rgb_to_y(image), atol=1e-6)
    assert np.isfinite(float(model.generator_losses(batch)["l_pix"]))


av = pytest.importorskip("av")


def test_a_width_that_is_no_multiple_of_16_gives_the_same_pixels_every_time(rng):
    """FFmpeg's scaler errs at random there when it has several threads."""
    sr = rng.integers(0, 2**16, (480, 852, 3), np.uint16)
    source = av.VideoFrame(852, 480, "yuv420p")
    made = [make_frame(sr, source, "yuv420p") for _ in range(8)]
    assert len({frame.to_ndarray().tobytes() for frame in made}) == 1
    assert len({upright_pixels(made[0]).tobytes() for _ in range(8)}) == 1


@pytest.mark.parametrize("layout", ["rgb555le", "rgb565le"])
def test_white_of_few_bits_is_white(layout):
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 255, np.uint8), format="rgb24")
    assert upright_pixels(frame.reformat(format=layout)).min() > 65_000
