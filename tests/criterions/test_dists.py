"""DISTS against its definition, with random features and calibration."""

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F
from scipy.ndimage import correlate1d

from ppsr.criterions.dists import DISTS, DISTSLoss, build_dists
from ppsr.errors import ConfigError, WeightError
from ppsr.metrics.similarity import DISTSMetric
from ppsr.weights import read_state, write_state

CHANNELS = [3, 64, 128, 256, 512, 512]
BLOCKS = [(0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)]
CONVS = {index: block for block, indices in enumerate(BLOCKS) for index in indices}
PUBLISHED = Path(__file__).parents[3] / "shared" / "weights" / "dists.pt"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A backbone and a calibration, random."""
    folder, rng = tmp_path_factory.mktemp("dists"), np.random.default_rng(0)
    state, width = {}, 3
    for index, block in CONVS.items():
        wide = CHANNELS[block + 1]
        scale = np.sqrt(2 / (9 * width))
        state[f"features.{index}.weight"] = rng.normal(0, scale, (wide, width, 3, 3)).astype(np.float32)
        state[f"features.{index}.bias"] = rng.normal(0, 0.1, wide).astype(np.float32)
        width = wide
    own = {name: rng.random((1, 1475, 1, 1)).astype(np.float32) for name in ("alpha", "beta")}
    write_state(folder / "vgg16.pdparams", state)
    write_state(folder / "dists.pdparams", own)
    return folder, state, own


def paths(folder):
    return {"weights": folder / "vgg16.pdparams", "calibration": folder / "dists.pdparams"}


def pooled(x):
    """Root of Hann-weighted squares at every second place, zeros around."""
    line = np.hanning(5)[1:-1] / np.hanning(5)[1:-1].sum()
    squares = correlate1d(x**2, line, axis=2, mode="constant")
    return np.sqrt(correlate1d(squares, line, axis=3, mode="constant")[:, :, ::2, ::2] + 1e-12)


def maps_of(image, state):
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    maps, x, last = [image], (image - mean) / std, 0
    for index, block in CONVS.items():
        if block != last:
            maps.append(x)
            x, last = pooled(x), block
        weight, bias = (
            paddle.to_tensor(state[f"features.{index}.{k}"].astype(np.float64)) for k in ("weight", "bias")
        )
        x = np.maximum(F.conv2d(paddle.to_tensor(x), weight, bias, padding=1).numpy(), 0)
    return [*maps, x]


@pytest.mark.slow
def test_the_distance_is_that_of_its_definition(files, rng):
    folder, state, own = files
    gt = rng.random((2, 3, 40, 48))
    sr = np.clip(gt + rng.normal(0, 0.1, gt.shape), 0, 1)
    total, place, expected = own["alpha"].sum() + own["beta"].sum(), 0, np.ones(2)
    for x, y in zip(maps_of(sr, state), maps_of(gt, state), strict=True):
        wide = x.shape[1]
        alpha, beta = (
            own[k][0, place : place + wide, 0, 0].astype(np.float64) / total for k in ("alpha", "beta")
        )
        place += wide
        mx, my = x.mean((2, 3)), y.mean((2, 3))
        cov = (x * y).mean((2, 3)) - mx * my
        texture = (2 * mx * my + 1e-6) / (mx**2 + my**2 + 1e-6)
        structure = (2 * cov + 1e-6) / (x.var((2, 3)) + y.var((2, 3)) + 1e-6)
        expected -= (alpha * texture + beta * structure).sum(1)
    assert place == 1475
    ours = build_dists(**paths(folder))(*(paddle.to_tensor(v.astype(np.float32)) for v in (sr, gt)))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=2e-4)


@pytest.mark.slow
def test_the_loss_has_a_gradient_and_the_metric_its_value(files, rng):
    folder = files[0]
    pair = [rng.integers(0, 256, (40, 44, 3)) for _ in range(2)]
    sr, gt = (paddle.to_tensor((v / 255).astype(np.float32).transpose(2, 0, 1)[None]) for v in pair)
    sr.stop_gradient = False
    loss = DISTSLoss(**paths(folder))
    value = loss(sr, gt)
    value.backward()
    assert np.isfinite(sr.grad.numpy()).all()
    assert float(sr.grad.abs().max()) > 0
    assert all(parameter.stop_gradient for parameter in loss.parameters())
    metric = DISTSMetric(**paths(folder))
    assert metric(*pair) == pytest.approx(float(value), rel=1e-5)
    assert abs(metric(pair[1], pair[1])) < 1e-5


def test_missing_and_wrong_files_are_named(files, tmp_path):
    folder = files[0]
    with pytest.raises(ConfigError, match=r"dists_weights.pt.*dingkeyan93/DISTS"):
        build_dists(weights=folder / "vgg16.pdparams")
    with pytest.raises(WeightError, match="alpha and beta"):
        build_dists(weights=folder / "vgg16.pdparams", calibration=folder / "vgg16.pdparams")
    with pytest.raises(ConfigError, match="RGB"):
        DISTS()(paddle.zeros([1, 1, 8, 8]), paddle.zeros([1, 1, 8, 8]))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="no published calibration in ../shared/weights")
def test_the_published_calibration_fits():
    state = read_state(PUBLISHED)
    shapes = {key: value.shape for key, value in state.items()}
    assert shapes == dict.fromkeys(("alpha", "beta"), (1, 1475, 1, 1))
    assert sum(float(value.sum()) for value in state.values()) == pytest.approx(1, abs=1e-5)
