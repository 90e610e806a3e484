"""Pieces of Real-ESRGAN's training degradation against the published code, on the host and the device."""

import re
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppsr.config import load_config
from ppsr.degradations import blur, device, jpeg, kernels, noise
from ppsr.degradations.noise import round_to_8bit
from ppsr.degradations.pool import TrainingPairPool
from ppsr.imaging.io import to_uint8
from ppsr.imaging.resize import interpolate
from ppsr.metrics.psnr_ssim import psnr
from ppsr.registry import LRSCHEDULERS
from tests.golden.files import Golden, assert_close, golden
from tests.golden.ties import assert_jpeg_close, usm_tolerance
from tests.test_project import ROOT

_FAMILIES = {
    "bivariate_Gaussian": kernels.gaussian,
    "generalized": kernels.generalized_gaussian,
    "plateau": kernels.plateau,
}


def _hwc(image):
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _each(function, batch, *values):
    """Apply a function of the host to every image of a batch, with the image's own values."""
    return np.stack(
        [function(_hwc(one), *own).transpose(2, 0, 1) for one, *own in zip(batch, *values, strict=True)]
    )


def _on_device(function, batch, *values, **options):
    return function(paddle.to_tensor(batch), *values, **options).numpy()


class _Recorded:
    """Hands out recorded random arrays, to the host for one image and to the device for a batch."""

    def __init__(self, array):
        self.array = array

    def standard_normal(self, shape, dtype):
        return self.array.astype(dtype)

    def poisson(self, rate):
        return self.array if isinstance(rate, np.ndarray) else paddle.to_tensor(self.array)

    def normal(self, shape):
        return paddle.to_tensor(self.array)


def _kernel(description):
    """Compute the kernel that a text such as "generalized(13,1.9,beta=.7) iso" describes."""
    name, inside, family = re.fullmatch(r"(\w+)\((.*)\)\s*(\w*)", description).groups()
    parts = inside.split(",")
    named = dict(part.split("=") for part in parts if "=" in part)
    plain = [float(part) for part in parts if "=" not in part]
    if name == "circular_lowpass":
        cutoff, size, *padded = (float(part.split("=")[-1]) for part in parts)
        return kernels.circular_lowpass(cutoff, int(size), int(padded[0]) if padded else 0)
    size, sigmas = int(plain[0]), plain[1:]
    arguments = [size, sigmas[0], sigmas[-1], float(named.get("theta", 0))]
    if "beta" in named:
        arguments.append(float(named["beta"]))
    return _FAMILIES[name](*arguments, isotropic=family == "iso")


@golden("functions_reflash_training*")
def test_kernels(path):
    g = Golden(path)
    for name, description in g.meta["k"].items():
        assert_close(_kernel(description), g[f"output/{name}"], rtol=1e-10, what=description)


@golden("functions_reflash_training*")
def test_sharpening_and_filtering(path):
    g = Golden(path)
    gt, stack = g["input/gt"], g["input/kernels"]
    bound = usm_tolerance(gt)
    assert_close(_each(blur.usm_sharpen, gt), g["output/usm"], atol=bound, what="host")
    assert_close(_on_device(device.usm_sharpen, gt), g["output/usm"], atol=bound, what="device")
    assert_close(_each(blur.filter2d, gt, stack), g["output/filter2d"], atol=1e-5, what="host")
    assert_close(_on_device(device.filter2d, gt, stack), g["output/filter2d"], atol=1e-5, what="device")


@golden("functions_reflash_training*")
@pytest.mark.smoke
def test_resizing(path):
    g = Golden(path)
    gt = g["input/gt"]
    for name, expected in g.group("output").items():
        if not name.startswith("resize_"):
            continue
        _, mode, by = name.split("_")
        choice = {"size": expected.shape[2:]} if by == "size" else {"scale": float(by)}
        host = _each(lambda one, m=mode, c=choice: interpolate(one, mode=m, **c), gt)
        assert_close(host, expected, atol=1e-5, what=f"host {name}")
        ours = _on_device(device.interpolate, gt, mode=mode, **choice)
        assert_close(ours, expected, atol=1e-5, what=f"device {name}")


@golden("functions_reflash_training*")
@pytest.mark.smoke
def test_jpeg(path):
    g = Golden(path)
    quality = g["input/jpeg_quality"]
    for name, expected in ((k, v) for k, v in g.group("output").items() if k.startswith("diffjpeg")):
        height, width = expected.shape[2:]
        gt = np.ascontiguousarray(g["input/gt"][:, :, :height, :width])
        for where, ours in (
            ("host", _each(lambda one, q: jpeg.jpeg(one, float(q)), gt, quality)),
            ("device", _on_device(device.jpeg, gt, quality)),
        ):
            assert_jpeg_close(ours, expected, gt, quality, f"{where} {name}")


def _noise_case(g, kind):
    """The images, levels and flags of a recorded noise call, and its random arrays for gray and colour."""
    expected = g[f"output/{kind}_noise"]
    height, width = expected.shape[2:]
    draws = {k.rsplit("_", 1)[1]: v for k, v in g.group("input").items() if k.startswith(f"{kind}_draw0")}
    text = g.meta[kind]
    span, low = (float(number) for number in re.search(r"=r\*([\d.]+)\+([\d.]+)", text).groups())
    stated = re.search(r"rand\(B\)<([\d.]+)", text)
    flags = g[f"input/{kind}_draw1_rand"] < float(stated[1] if stated else g[f"input/{kind}_gray_prob"])
    arrays = [g[k] for k in sorted(g.arrays) if re.fullmatch(rf"input/{kind}_draw[2-9]_\w+", k)]
    return SimpleNamespace(
        images=np.ascontiguousarray(g["input/gt"][:, :, :height, :width]),
        level=draws["rand"] * span + low,
        gray=flags,
        grays=arrays[0] if flags.any() else None,
        colours=arrays[-1],
        expected=expected,
    )


@golden("functions_reflash_training*")
def test_gaussian_noise_from_recorded_draws(path):
    case = _noise_case(Golden(path), "gauss")
    drawn = case.colours.copy()
    if case.gray.any():
        drawn[case.gray] = case.grays  # one gray pattern for the batch

    def host(one, sigma, gray, normal):
        normal = _hwc(normal)
        recorded = _Recorded(normal[..., :1] if gray else normal)
        added = noise.gaussian_noise(one.shape, sigma=sigma, gray=gray, rng=recorded)
        return noise.add_noise(one, added)

    ours = _each(host, case.images, case.level, case.gray, drawn)
    assert_close(ours, case.expected, atol=1e-5, what="host")
    added = _on_device(
        device.gaussian_noise, case.images, sigma=case.level, gray=case.gray, draws=_Recorded(drawn)
    )
    assert_close(np.clip(case.images + added, 0, 1), case.expected, atol=1e-5, what="device")


@golden("functions_reflash_training*")
def test_poisson_noise_from_recorded_draws(path):
    g = Golden(path)
    case = _noise_case(g, "poisson")
    counts = case.colours.copy()
    if case.gray.any():
        counts[case.gray] = case.grays[case.gray]

    def host(one, scale, gray, drawn):
        recorded = _Recorded(_hwc(drawn)[..., :1] if gray else _hwc(drawn))
        return noise.add_noise(one, noise.poisson_noise(one, scale=scale, gray=gray, rng=recorded))

    ours = _each(host, case.images, case.level, case.gray, counts)
    assert_close(ours, case.expected, atol=1e-5, what="host")
    added = _on_device(
        device.poisson_noise, case.images, scale=case.level, gray=case.gray, draws=_Recorded(counts)
    )
    assert_close(np.clip(case.images + added, 0, 1), case.expected, atol=1e-5, what="device")
    for name, expected in g.group("output").items():
        if name.startswith("poisson_lambda"):
            gray = np.full(len(case.gray), expected.shape[1] == 1)
            rate, _ = device.poisson_rate(paddle.to_tensor(case.images), gray=gray)
            assert_close(rate.numpy()[:, : expected.shape[1]], expected, rtol=1e-5, what=name)


@golden("functions_reflash_training*")
def test_rounding_to_8_bit(path):
    g = Golden(path)
    expected = g["output/quantised"]
    height, width = expected.shape[2:]
    filtered = np.ascontiguousarray(g["output/filter2d"][:, :, :height, :width])
    assert_close(round_to_8bit(filtered), expected, atol=1e-6, what="host")
    assert_close(_on_device(device.round_to_8bit, filtered), expected, atol=1e-6, what="device")


@golden("functions_reflash_training*")
def test_the_pool_hands_out_what_the_published_one_does(path, monkeypatch):
    g = Golden(path)
    orders = list(g["input/pool_perms"])
    given = SimpleNamespace(permutation=lambda count: orders.pop(0))
    pool = TrainingPairPool(int(re.search(r"queue_size (\d+)", g.meta["pool"])[1]))
    for incoming, expected in zip(g["input/pool_ids"], g["output/pool_ids"], strict=True):
        batch = {"lq": paddle.to_tensor(incoming), "gt": paddle.to_tensor(-incoming)}
        with monkeypatch.context() as patch:
            patch.setattr(np.random, "default_rng", lambda seed: given)
            handed = {name: value.numpy() for name, value in pool(batch).items()}
        assert_close(handed["lq"], expected)
        assert_close(handed["gt"], -expected)
    assert not orders


@golden("functions_reflash_training*")
def test_learning_rate_of_the_config(path):
    g = Golden(path)
    config = load_config(ROOT / "configs" / "realsrresnet_x4.yaml")
    schedule = LRSCHEDULERS.build(config["lr_scheduler"])
    assert_close([schedule(int(step)) for step in g["input/lr_iters"]], g["output/lr"], atol=1e-12)


@golden("functions_reflash_training*")
def test_psnr_of_8_bit_images(path):
    g = Golden(path)
    sr, gt = to_uint8(_hwc(g["input/psnr_pred"])), to_uint8(_hwc(g["input/gt"][0]))
    np.testing.assert_array_equal(sr[..., ::-1], g["output/psnr_uint8_bgr"])
    found = [match for key in g.group("output") if (match := re.fullmatch(r"psnr_crop(\d+)_(rgb|y)", key))]
    assert found
    for match in found:
        ours = psnr(sr, gt, crop_border=int(match[1]), test_y_channel=match[2] == "y")
        # luma is float32 in the published code and float64 here
        assert_close(ours, g[f"output/{match[0]}"], atol=1e-5, what=match[0])


@golden("functions_reflash_training*")
def test_windows_of_480_every_240_pixels(path):
    subimages = pytest.importorskip("ppsr.prepare.subimages")
    g = Golden(path)
    for name, (height, width) in ((k, v) for k, v in g.group("input").items() if k.endswith("_hw")):
        tops, lefts = (subimages.window_starts(int(side), 480, 240) for side in (height, width))
        corners = [(top, left) for top in tops for left in lefts]
        sub = name.removesuffix("_hw")
        np.testing.assert_array_equal(corners, g[f"output/{sub}_tops_lefts"])
        last = str(g[f"output/{sub}_first_last"][1])
        assert re.search(r"_s(\d+)", last)[1] == f"{len(corners):03d}"
