"""Losses and feature networks against the published code."""

import math
import re

import numpy as np
import paddle
import pytest

from ppsr.criterions.artifact import ArtifactLoss, artifact_map, local_variance
from ppsr.criterions.gan import GANLoss
from ppsr.criterions.lpips import LPIPS, calibration, normalize_features
from ppsr.criterions.perceptual import PerceptualLoss
from ppsr.criterions.pixel import CharbonnierLoss, L1Loss, MSELoss
from ppsr.criterions.vgg import VGGFeatureExtractor, alexnet_features, vgg_features, vgg_names
from tests.golden.files import Golden, assert_close, golden
from tests.golden.hash_weights import hash_array

_PIXEL = {"charbonnier": CharbonnierLoss, "l1": L1Loss, "mse": MSELoss}
_NOT_ARGUMENTS = {"seed", "B", "H", "W", "in_range"}


def _tensor(array, dtype="float32"):
    return paddle.to_tensor(np.asarray(array).astype(dtype))


def _number(text):
    return float(text.replace("p", "."))


@golden("functions_losses*")
@pytest.mark.smoke
def test_pixel_losses(path):
    g = Golden(path)
    pred, target = _tensor(g["input/pred"]), _tensor(g["input/target"])
    names = [k for k in g.group("output") if k.split("_")[0] in _PIXEL]
    assert names
    for name in names:
        kind, reduction, *options = name.split("_")
        arguments, weight = {"reduction": reduction}, None
        for option in options:
            if option.startswith("weight"):
                weight = _tensor(g[f"input/{option}"])
            elif option.startswith("eps"):
                arguments["eps"] = _number(option[3:])
            else:
                arguments["loss_weight"] = _number(re.fullmatch(r"w(.+)", option)[1])
        loss = _PIXEL[kind](**arguments)(pred, target, weight)
        assert_close(loss, g[f"output/{name}"], rtol=1e-5, what=name)


@golden("functions_losses*")
@pytest.mark.smoke
def test_gan_losses(path):
    g = Golden(path)
    logits = _tensor(g["input/logits"])
    weight = float(re.search(r"loss_weight (\d+(?:\.\d+)?(?:e[-+]?\d+)?)", g.meta["notes"])[1])
    roles = {"G": (True, False), "D_real": (True, True), "D_fake": (False, True)}
    names = [k for k in g.group("output") if k.startswith("gan_")]
    assert names
    for name in names:
        gan_type, role = re.fullmatch(r"gan_(.+?)_(G|D_real|D_fake)", name).groups()
        real, is_disc = roles[role]
        loss = GANLoss(gan_type=gan_type, loss_weight=weight)(logits, real, is_disc=is_disc)
        # a mean of logits of both signs may be near zero
        assert_close(loss, g[f"output/{name}"], rtol=1e-5, atol=1e-7, what=name)


@golden("functions_losses*")
@pytest.mark.smoke
def test_artifact_loss_map_and_gradients(path):
    g = Golden(path)
    gt, sr, averaged = (_tensor(g[f"input/{name}"]) for name in ("gt", "output", "ema"))
    ksize = g.meta["ksize"]
    assert_close(artifact_map(gt, sr, averaged, ksize), g["output/ldl_map"], rtol=1e-5)
    residual = (gt - sr).abs().sum(axis=1, keepdim=True)
    assert_close(local_variance(residual, ksize), g["output/ldl_local_var"], rtol=1e-5)
    for detach in (False, True):
        sr.clear_gradient()
        sr.stop_gradient = False
        loss = ArtifactLoss(ksize=ksize, detach=detach)(sr, gt, averaged)
        # where the map is 0 the terms are 1e-6: added to a much larger sum, all are rounded the same way
        assert_close(loss, g["output/artifact_loss"], rtol=1e-4)
        loss.backward()
        expected = g[f"output/artifact_grad_{'detached' if detach else 'not_detached'}"]
        # where the map is tiny, sqrt(d^2 + 1e-12) is near its bend and amplifies float32 rounding: the
        # released code itself is up to 1e-4 from its own results in float64
        assert_close(sr.grad, expected, rtol=3e-4)


_HASHED = {}


def _hash_backbone(g, name):
    """`features.*` of a backbone by hash weights, checked against the recorded sums."""
    if name not in _HASHED:
        layers = alexnet_features() if name == "alexnet" else vgg_features(name, len(vgg_names(name)))
        state = {}
        for index, layer in enumerate(layers):
            for kind, value in layer.named_parameters():
                shape = tuple(value.shape)
                scale = 0.1 if kind == "bias" else math.sqrt(6 / math.prod(shape[1:]))
                state[f"features.{index}.{kind}"] = hash_array(len(state), shape, scale)
        _HASHED[name] = state
    if f"output/param_abs_sum/{name}" in g:
        sums = [np.abs(v.astype(np.float64)).sum() for v in _HASHED[name].values()]
        assert_close(sums, g[f"output/param_abs_sum/{name}"], rtol=1e-9)
    return _HASHED[name]


def _cases(g, kind):
    """Names and options of the cases with an entry of that name; a file need not have all kinds."""
    cases = [(name, case) for name, case in g.meta["cases"].items() if kind in case]
    if not cases:
        pytest.skip(f"this file has no case with '{kind}'")
    return cases


def _relative_l2(actual, expected):
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def _extractor(g, layers, case, dtype):
    allowed = ("vgg_type", "use_input_norm", "range_norm", "remove_pooling", "pooling_stride")
    options = {k: case[k] for k in allowed if k in case}
    net = VGGFeatureExtractor(layer_name_list=layers, **options)
    net.load_torchvision(_hash_backbone(g, net.vgg_type))
    if dtype == "float64":
        net.to(dtype=dtype)
    return net


@golden("functions_perceptual*")
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_perceptual_losses(path, dtype):
    g = Golden(path)
    suffix = "64" if dtype == "float64" else ""
    for name, case in _cases(g, "layer_weights"):
        net = _extractor(g, list(case["layer_weights"]), case, dtype)
        arguments = {k: v for k, v in case.items() if k not in _NOT_ARGUMENTS}
        loss = PerceptualLoss(**arguments, extractor=net)
        x = _tensor(g[f"input/{name}/x"], dtype)
        x.stop_gradient = False
        parts = loss.parts(x, _tensor(g[f"input/{name}/gt"], dtype))
        for part in ("percep", "style"):
            assert (part in parts) == (f"output/{name}/{part}" in g), f"{name}: {part}"
            if part in parts:
                rtol = 1e-10 if suffix else 1e-5
                assert_close(
                    parts[part], g[f"output/{name}/{part}{suffix}"], rtol=rtol, what=f"{name} {part}"
                )
        sum(parts.values()).backward()
        # float32: a few signs of the L1, ReLU and pooling decisions may flip
        bound = 1e-8 if suffix else 2e-2
        assert _relative_l2(x.grad, g[f"output/{name}/grad_x{suffix}"]) <= bound, name


@golden("functions_perceptual*")
@pytest.mark.slow
def test_features(path):
    g = Golden(path)
    for name, case in _cases(g, "layers"):
        maps = _extractor(g, case["layers"], case, "float32")(_tensor(g[f"input/{name}/x"]))
        assert set(maps) == set(case["layers"])
        for layer, value in maps.items():
            ours, prefix = value.numpy(), f"output/{name}/{layer}"
            assert list(ours.shape) == list(g[f"{prefix}_shape"])
            assert_close(ours[:, :8], g[f"{prefix}_c8"], rtol=1e-5, what=layer)
            assert_close(ours.mean(axis=(0, 2, 3)), g[f"{prefix}_mean"], rtol=1e-5, what=layer)
            std, expected = ours.astype(np.float64).std(), float(g[f"{prefix}_std64"])
            unbiased = std * math.sqrt(ours.size / (ours.size - 1))
            assert min(abs(std - expected), abs(unbiased - expected)) <= 1e-5 * expected, layer


@golden("functions_lpips*")
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lpips(path, dtype):
    g = Golden(path)
    suffix = "64" if dtype == "float64" else ""
    for name, case in _cases(g, "net"):
        net = LPIPS(
            net=case["net"],
            version=str(case.get("version", "0.1")),
            lpips=case.get("lpips_on", True),
            spatial=case.get("spatial", False),
        )
        net.load_published(_hash_backbone(g, net.backbone), g.group(f"param/{case['net']}"))
        net.to(dtype=dtype)
        x, gt = (_tensor(g[f"input/{name}/{k}"], dtype) for k in ("x", "gt"))
        x.stop_gradient = False
        shares = net.layers(x, gt, case.get("normalize", False))
        distance = sum(shares)
        # float64: bilinear interpolation computes its ratios in float32
        rtol = 1e-6 if suffix else 1e-5
        assert_close(distance, g[f"output/{name}/dist{suffix}"], rtol=rtol, what=name)
        means = np.stack([s.numpy().mean(axis=(1, 2, 3)) for s in shares], axis=1)
        assert_close(means, g[f"output/{name}/layers{suffix}"], rtol=rtol, what=name)
        distance.mean().backward()
        # float32: a ReLU or pooling decision near a tie may differ
        assert _relative_l2(x.grad, g[f"output/{name}/grad_x{suffix}"]) <= (1e-6 if suffix else 1e-3), name


@golden("functions_lpips*")
@pytest.mark.smoke
def test_dead_features_have_zero_gradient(path):
    g = Golden(path)
    if "input/normalize_dead/x" not in g:
        pytest.skip("this file has no such case")
    x = _tensor(g["input/normalize_dead/x"])
    x.stop_gradient = False
    y = normalize_features(paddle.nn.functional.relu(x))
    assert_close(y, g["output/normalize_dead/y"], atol=1e-6)
    (y * _tensor(g["input/normalize_dead/w"])).sum().backward()
    assert_close(x.grad, g["output/normalize_dead/grad_x"], rtol=1e-5)


@golden("functions_lpips*")
@pytest.mark.smoke
def test_shipped_calibration_is_the_published_one(path):
    g = Golden(path)
    for net in {case["net"] for _, case in _cases(g, "net") if str(case.get("version", "0.1")) == "0.1"}:
        shipped = calibration(net)
        for key, value in g.group(f"param/{net}").items():
            assert_close(shipped[key], value, what=f"{net} {key}")
