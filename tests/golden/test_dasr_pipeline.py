"""DASR's degradation pipeline and dataset against the published code, by its recorded choices."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import paddle

from ppsr.datasets.transforms import random_crop_or_pad
from ppsr.degradations import device
from ppsr.degradations.batches import apply_to_batch
from ppsr.degradations.blur import usm_sharpen
from ppsr.degradations.dasr import LEVELS, DegradationParams, StageParams, build_operations, describe
from ppsr.degradations.kernels import Kernel, sinc_kernel
from ppsr.degradations.noise import add_noise, round_to_8bit
from ppsr.degradations.operations import Jpeg, Noise, apply_operations
from tests.golden.files import Golden, assert_close, golden
from tests.golden.published_draws import PublishedDraws
from tests.golden.ties import usm_tolerance

_PUBLISHED_SIZES = list(range(9, 22, 2))
_RUNS = 8


@dataclass
class RecordedNoise:
    """Adds a recorded array instead of drawing one."""

    array: np.ndarray

    def apply(self, image, rng):
        return add_noise(image, self.array)


@dataclass
class Rounding:
    """Errors that move the coefficients of a block as far as those of float32 sums, which have one sign."""

    seed: int

    def apply(self, image, rng):
        own = np.random.default_rng(self.seed)
        return image + 1e-5 * own.standard_normal(image.shape, dtype=np.float32)


def _disturbed(operations, seed):
    """The operations with errors before each JPEG compression, or unchanged where the seed is 0."""
    for operation in operations:
        if seed and isinstance(operation, Jpeg):
            yield Rounding(seed)
        yield operation


def _kernel(g, name, i):
    prefix = f"input/{name}_"
    values = g[prefix + "kernel"][i]
    size = int(g[prefix + "size" if prefix + "size" in g else prefix + "kernel_size"][i])

    def number(key):
        return float(g[prefix + key][i]) if prefix + key in g else 0.0

    return Kernel(values, size, number("sigma_x"), number("sigma_y"), number("rotation"), number("omega_c"))


def _choices(g, level, i, height, width):
    """The recorded choices of sample i as ours."""
    ops = g.meta["ops"]
    resizes = [op for op in ops if op["op"] == "interpolate"]
    noises = [op for op in ops if op["op"] == "noise"]
    filters = [k for k, op in enumerate(ops) if op["op"] == "filter2D"]
    two = len(level.stages) == 2
    second_noise = next((k for k, op in enumerate(ops) if op["op"] == "noise" and op["index"] == 2), 0)
    first_jpeg = next(k for k, op in enumerate(ops) if op["op"] == "jpeg")
    stages = []
    for n in range(len(level.stages)):
        blurred = n == 0 or any(first_jpeg < k < second_noise for k in filters)
        scale = resizes[n]["scale_factor"]
        stages.append(
            StageParams(
                kernel=_kernel(g, f"kernel{n + 1}", i),
                blurred=blurred,
                scale=_scale(g, level, i) if scale is None else scale,
                mode=resizes[n]["mode"],
                noise=Noise(
                    noises[n]["kind"],
                    float(g[f"output/noise{n + 1}_level"][i]),
                    bool(g[f"output/noise{n + 1}_gray"][i]),
                ),
                quality=float(g[f"output/jpeg{n + 1}_quality"][i]),
            )
        )
    last_resize = max(k for k, op in enumerate(ops) if op["op"] == "interpolate")
    last_jpeg = max(k for k, op in enumerate(ops) if op["op"] == "jpeg")
    return DegradationParams(
        tuple(stages), resizes[-1]["mode"], _kernel(g, "sinc", i) if two else None, last_resize < last_jpeg
    )


def _scale(g, level, i):
    """The second scale is recorded through its normalised value only."""
    low, high = level.stages[1].resize.resize_range
    return float(g["output/params"][i, 14]) * (high - low) + low


@golden("functions_feed_data*")
def test_feed_data_from_recorded_choices(path):
    g = Golden(path)
    level = LEVELS[g.meta["degree"].split("_")[0]]
    scale, gt_size = g.meta["scale"], g.meta["gt_size"]
    top, left = (int(v) for v in g["output/crop_top_left"])
    full, sharpened, params = [], [], []
    for i, sample in enumerate(g["input/gt"]):
        gt = usm_sharpen(np.ascontiguousarray(sample.transpose(1, 2, 0)))
        choices = _choices(g, level, i, *gt.shape[:2])
        ops = build_operations(choices, gt.shape[:2], scale)
        recorded = iter(g[f"output/noise{n + 1}"][i].transpose(1, 2, 0) for n in range(len(level.stages)))
        ops = [RecordedNoise(next(recorded)) if isinstance(op, Noise) else op for op in ops]
        rng = np.random.default_rng(0)
        runs = [apply_operations(gt, list(_disturbed(ops, seed)), rng) for seed in range(_RUNS)]
        full.append(round_to_8bit(np.stack(runs)).transpose(0, 3, 1, 2))
        high = gt[top * scale : top * scale + gt_size, left * scale : left * scale + gt_size]
        sharpened.append((gt.transpose(2, 0, 1), high.transpose(2, 0, 1)))
        params.append(describe(choices, level, published_description=True))
    bound = usm_tolerance(g["input/gt"])
    assert_close(np.stack([s[0] for s in sharpened]), g["output/gt_usm_full"], atol=bound)
    bound = bound[..., top * scale : top * scale + gt_size, left * scale : left * scale + gt_size]
    assert_close(np.stack([s[1] for s in sharpened]), g["output/gt"], atol=bound)
    assert_close(np.stack(params), g["output/params"], atol=1e-6)
    full = np.stack(full, axis=1)
    _assert_close_levels(full, g["output/lq_full"])
    side = gt_size // scale
    _assert_close_levels(full[..., top : top + side, left : left + side], g["output/lq"])


def _assert_close_levels(runs, theirs):
    """Compare with all that rounding can yield: it decides JPEG coefficients at a tie, so whole blocks."""
    error = np.maximum(runs.min(axis=0) - theirs, theirs - runs.max(axis=0)).clip(0)
    # and an 8-bit level on rare pixels
    assert (error <= 1 / 255 + 1e-6).mean() >= 0.995
    assert error.mean() < 1e-3


@golden("functions_feed_data*")
def test_feed_data_on_the_device_from_recorded_choices(path):
    g = Golden(path)
    level = LEVELS[g.meta["degree"].split("_")[0]]
    x = device.usm_sharpen(paddle.to_tensor(g["input/gt"]))
    assert_close(x.numpy(), g["output/gt_usm_full"], atol=usm_tolerance(g["input/gt"]))
    size = x.shape[2:]
    batch = [
        build_operations(_choices(g, level, i, *size), (size[0], size[1]), g.meta["scale"])
        for i in range(x.shape[0])
    ]
    runs = [_run_on_the_device(g, x, [_disturbed(own, seed) for own in batch]) for seed in range(_RUNS)]
    _assert_close_levels(np.stack(runs), g["output/lq_full"])


def _run_on_the_device(g, x, batch):
    recorded = iter(g[key] for key in ("output/noise1", "output/noise2") if key in g)
    for together in zip(*batch, strict=True):
        if isinstance(together[0], Noise):
            x = paddle.clip(x + paddle.to_tensor(next(recorded)), 0, 1)
        elif isinstance(together[0], Rounding):
            x = paddle.to_tensor(together[0].apply(x.numpy(), None))
        else:
            x = apply_to_batch(x, [[operation] for operation in together])
    return device.round_to_8bit(x).numpy()


@dataclass
class _Integers:
    """Python's random numbers under NumPy's name."""

    python: Any

    def integers(self, low, high):
        return self.python.randint(low, high - 1)


def _drawn(level, index, draws):
    """The released code never draws the smallest side of its range."""
    return replace(level.stages[index].blur, kernel_range=(9, 21)).draw_kernel(draws)


@golden("functions_dataset*")
def test_dataset_item_with_the_published_random_streams(path):
    g = Golden(path)
    height, width, draws = g.meta["h"], g.meta["w"], PublishedDraws(g.meta["seed"])
    y, x, c = np.mgrid[:height, :width, :3]
    bgr = ((3 * y + 5 * x + 7 * c) % 256).astype(np.float32) / 255
    image = np.ascontiguousarray(bgr[..., ::-1])
    if draws.python.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    image = random_crop_or_pad(image, 400, _Integers(draws.python))
    gt = image.transpose(2, 0, 1)
    assert list(gt.shape) == list(g["output/gt_shape"])
    assert_close(gt[:, :3, :3], g["output/gt_corner"], atol=1e-7)
    assert_close(gt.astype(np.float64).sum(), g["output/gt_sum"], rtol=1e-6)
    severe, standard, weak = (LEVELS[name] for name in ("severe", "standard", "weak"))
    drawn = {
        "severe_degrade_two_stage.kernel1": _drawn(severe, 0, draws),
        "severe_degrade_two_stage.kernel2": _drawn(severe, 1, draws),
        "severe_degrade_two_stage.sinc_kernel": sinc_kernel(draws, sizes=_PUBLISHED_SIZES, probability=0.8),
        "standard_degrade_one_stage.kernel1": _drawn(standard, 0, draws),
        "weak_degrade_one_stage.kernel1": _drawn(weak, 0, draws),
    }
    for name, kernel in drawn.items():
        facts = {
            "kernel": kernel.values,
            "kernel_size": kernel.size,
            "sigma_x": kernel.sigma_x,
            "sigma_y": kernel.sigma_y,
            "rotation": kernel.rotation,
            "omega_c": kernel.cutoff,
        }
        for key, value in facts.items():
            full = f"output/{name}.{key}"
            if full in g:
                assert_close(value, g[full], atol=1e-6, what=full)
