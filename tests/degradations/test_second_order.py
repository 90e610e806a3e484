"""The list of random steps: what it draws, what a batch shares, and what it refuses."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import paddle
import pytest

from ppsr.config import load_config
from ppsr.degradations.base import ImageSizes, Operation, Step
from ppsr.degradations.batches import apply_to_batch
from ppsr.degradations.operations import Blur, Jpeg, Noise, Resize, Skipped, apply_operations
from ppsr.degradations.second_order import (
    SECOND_ORDER,
    build_steps,
    draw_operations,
    host_operations,
    smallest_filtered,
)
from ppsr.errors import ConfigError, DataError
from ppsr.registry import DEGRADATION_STEPS
from tests.test_project import ROOT

PUBLISHED = build_steps(SECOND_ORDER)
KINDS = [Blur, Resize, Noise, Jpeg, Blur, Resize, Noise]
LAST = ([Resize, Blur, Jpeg], [Jpeg, Resize, Blur])
TO_LQ = {"name": "resize", "relative_to": "lq"}


def _draw(seed, *, common=None, size=(400, 400), steps=PUBLISHED):
    common = None if common is None else np.random.default_rng(common)
    return draw_operations(steps, np.random.default_rng(seed), size=size, scale=4, shared_rng=common)


def test_the_published_list_is_two_rounds_and_a_last_one_in_either_order():
    drawn = [[type(op) for op in _draw(seed)] for seed in range(40)]
    assert all(kinds[:7] == KINDS and kinds[7:] in LAST for kinds in drawn)
    assert 8 < sum(kinds[7:] == LAST[0] for kinds in drawn) < 32


def test_the_config_spells_out_the_published_list():
    config = load_config(ROOT / "configs" / "realsrresnet_x4.yaml")
    steps = build_steps(config["dataset"]["train"]["degradation"]["operations"])

    def plain(step):
        return str(step).replace("[", "(").replace("]", ")")

    assert [plain(step) for step in steps] == [plain(step) for step in PUBLISHED]


def test_draws_keep_to_the_published_ranges_and_frequencies():
    drawn = [_draw(seed) for seed in range(600)]
    first, second = [ops[1] for ops in drawn], [ops[5] for ops in drawn]
    scales = np.array([op.scale for op in first])
    assert 0.15 <= scales.min() < 0.17 and 1.48 < scales.max() <= 1.5
    # deviation of a frequency of 600 draws: at most 0.021
    assert np.mean(scales > 1) == pytest.approx(0.2, abs=0.07)
    assert np.mean(scales < 1) == pytest.approx(0.7, abs=0.07)
    sides = np.array([op.size[0] for op in second])
    assert 30 <= sides.min() < 33 and 117 < sides.max() <= 120
    assert np.mean(sides == 100) == pytest.approx(0.3, abs=0.07)
    for place, limit, factor in ((2, 30, 3), (6, 25, 2.5)):
        noises = [ops[place] for ops in drawn]
        gaussian = [op.level for op in noises if op.kind == "gaussian"]
        poisson = [op.level for op in noises if op.kind == "poisson"]
        assert len(gaussian) / len(noises) == pytest.approx(0.5, abs=0.07)
        assert np.mean([op.gray for op in noises]) == pytest.approx(0.4, abs=0.07)
        assert min(gaussian) >= 1 and limit - 1 < max(gaussian) <= limit
        assert min(poisson) >= 0.05 and factor - 0.1 < max(poisson) <= factor
    pulses = [np.count_nonzero(ops[4].kernel) == 1 for ops in drawn]
    assert np.mean(pulses) == pytest.approx(0.2, abs=0.07)
    qualities = [op.quality for ops in drawn for op in ops if isinstance(op, Jpeg)]
    assert 30 <= min(qualities) < 31 and 94 < max(qualities) <= 95
    assert {op.mode for op in first} == {"area", "bilinear", "bicubic"}


def test_a_common_generator_makes_sizes_and_order_equal_and_nothing_else():
    batch = [_draw(seed, common=7) for seed in range(4)]
    for together in zip(*batch, strict=True):
        assert len({type(op) for op in together}) == 1
        if isinstance(together[0], Resize):
            assert len(set(together)) == 1
        elif isinstance(together[0], Jpeg):
            assert len({op.quality for op in together}) == 4
    assert len({ops[0].kernel.tobytes() for ops in batch}) == 4


def test_the_list_ends_at_the_size_of_the_lr_image(rng):
    image = rng.random((96, 80, 3), dtype=np.float32)
    for seed in range(6):
        assert apply_operations(image, _draw(seed, size=(96, 80)), rng).shape == (24, 20, 3)


def test_the_smallest_image_that_a_filter_meets_is_known():
    # the second blur follows a shrinking by 0.15
    assert smallest_filtered(PUBLISHED, 400, 100) == 60
    shrinks = {"name": "resize", "relative_to": "lq", "resize_prob": [0, 1, 0], "resize_range": [0.3, 1]}
    steps = build_steps([shrinks, {"name": "blur", "blur_sigma": [1, 2]}, TO_LQ])
    assert smallest_filtered(steps, 400, 100) == 30


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "blurr"}], "blur"),
        ([{"blur_sigma": [1, 2]}], "key 'name'"),
        ([{"name": "jpeg", "jpeg_rang": [30, 95]}], "jpeg_range"),
        ([{"name": "jpeg"}], "needs the option 'jpeg_range'"),
        ([{"name": "jpeg", "jpeg_range": 50}], "jpeg_range must be"),
        ([{"name": "jpeg", "jpeg_range": "30,95"}], "jpeg_range must be"),
        ([{"name": "blur", "blur_sigma": [1, 2], "blur_prob": "often"}], "between 0 and 1"),
        ([{"name": "random_order", "groups": 3}], "list of lists"),
        ({"name": "blur"}, "operations: a list"),
        ([{"name": "jpeg", "jpeg_range": [30, 100]}], "between 1 and 99.9"),
        ([{"name": "jpeg", "jpeg_range": [95, 30]}], "jpeg_range must be"),
        ([{"name": "blur", "blur_sigma": [1, 2], "kernel_prob": [1]}], "2 probabilities"),
        ([{"name": "blur", "blur_sigma": [1, 2], "kernel_list": ["isso", "aniso"]}], "iso"),
        ([{"name": "blur", "blur_sigma": [1, 2], "kernel_list": 0}], "kernel_list must be a list of names"),
        ([{"name": "blur", "blur_sigma": [1, 2], "kernel_prob": [0.5, math.nan]}], "2 probabilities"),
        ([{"name": "blur", "blur_sigma": [1, 2], "kernel_range": [8, 21]}], "odd"),
        ([{"name": "blur", "blur_sigma": [1, 2], "betag_range": [1, math.inf]}], "betag_range must be"),
        (
            [{"name": "noise", "noise_range": [1, 2], "poisson_scale_range": [0.05, math.inf]}],
            "poisson_scale_range must be",
        ),
        ([{"name": "blur", "blur_sigma": [1, 2], "blur_prob": 1.2}], "between 0 and 1"),
        ([{"name": "resize", "resize_range": [0.2, 0.8]}], "must hold 1"),
        ([{"name": "resize", "relative_to": "hr"}], "'image' or 'lq'"),
        ([{"name": "random_order", "groups": [[{"name": "nois"}]]}], r"operations.0: groups.0.0: .*noise"),
        ([{"name": "sinc", "prob": 2}], r"operations\.0: .*prob must be a number between 0 and 1, got 2"),
        ([{"name": "sinc", "prob": True}], r"operations\.0: .*prob must be a number between .*True"),
        ([{"name": "sinc", "probe": 0.5}], "sinc has no option 'probe'; did you mean 'prob'"),
        ([{"name": "resize", "resize_mode_list": ["nearst"]}], "unknown 'nearst'; did you mean 'nearest'"),
        ([{"name": "resize", "resize_mode_list": "area"}], "resize_mode_list must be a list of names"),
        ([{"name": "resize", "resize_mode_prob": [1]}], "3 probabilities that sum to 1"),
        ([{"name": "jpeg", "jpeg_range": [30, 90], "subsampling_list": ["4:1:1"]}], "unknown '4:1:1'"),
        ([{"name": "unsharp", "unsharp_weight": [1, 2], "unsharp_sigma": [1, 9]}], "between 0.1 and 3.3"),
        ([{"name": "webp", "webp_range": [0, 50]}], "webp_range must be .* between 1 and 100"),
        ([{"name": "video", "quality_range": [20, 60]}], "quality_range must be .* between 0 and 51"),
        ([{"name": "video", "quality_range": [1, 2], "codec": "libx26"}], "'libx26'; did you mean"),
    ],
)
def test_wrong_steps_are_named(entries, message):
    with pytest.raises(ConfigError, match=message):
        build_steps(entries)


@pytest.mark.parametrize(
    "entries",
    [
        [{"name": "resize"}],
        [TO_LQ, {"name": "resize", "resize_prob": [0, 1, 0], "resize_range": [0.5, 1]}],
        [{"name": "random_order", "groups": [[TO_LQ], [{"name": "resize"}]]}],
    ],
)
def test_a_list_that_may_end_at_another_size_is_refused(entries):
    with pytest.raises(ConfigError, match="relative_to: lq"):
        smallest_filtered(build_steps(entries), 400, 100)


def test_a_step_acts_with_its_probability_without_changing_what_follows():
    entries = [{"name": "jpeg", "jpeg_range": (30, 95), "prob": 0.3}, {"name": "blur", "blur_sigma": (1, 2)}]
    sometimes, always = (
        [_draw(seed, steps=build_steps(list_)) for seed in range(600)]
        for list_ in (entries, [{**entries[0], "prob": 1}, entries[1]])
    )
    acted = [isinstance(ops[0], Jpeg) for ops in sometimes]
    assert np.mean(acted) == pytest.approx(0.3, abs=0.07)  # a deviation of 0.019
    assert all(isinstance(ops[0], Jpeg) for ops in always)
    assert {type(ops[0]) for ops in sometimes} == {Jpeg, Skipped}
    image = np.full((4, 4, 3), 0.3, np.float32)
    assert Skipped().apply(image, np.random.default_rng(0)) is image


def test_whether_a_resize_acts_is_a_choice_of_the_batch():
    entry = {"name": "resize", "resize_prob": (0, 1, 0), "resize_range": (0.5, 1), "prob": 0.5}
    steps = build_steps([entry, TO_LQ])
    counts = []
    for common in range(200):
        counts.append({len(_draw(seed, common=common, steps=steps)) for seed in range(3)})
    assert all(len(lengths) == 1 for lengths in counts)
    assert np.mean([lengths == {2} for lengths in counts]) == pytest.approx(0.5, abs=0.12)
    assert smallest_filtered(build_steps([{"name": "sinc"}, TO_LQ]), 96, 24) == 96
    with pytest.raises(ConfigError, match="must end at the size of the LR image"):
        smallest_filtered(build_steps([{**TO_LQ, "prob": 0.9}]), 96, 24)


def test_resize_modes_and_subsampling_are_drawn_from_their_lists():
    modes = {"resize_mode_list": ["nearest", "lanczos", "area"], "resize_mode_prob": [0.5, 0.5, 0]}
    steps = build_steps(
        [{**TO_LQ, **modes}, {"name": "jpeg", "jpeg_range": (50, 60), "subsampling_list": ["4:4:4", "4:2:2"]}]
    )
    drawn = [_draw(seed, steps=steps) for seed in range(400)]
    assert {ops[0].mode for ops in drawn} == {"nearest", "lanczos"}
    assert np.mean([ops[0].mode == "lanczos" for ops in drawn]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([ops[1].subsampling == "4:4:4" for ops in drawn]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("name", "down", "across"), [("4:4:4", 1, 1), ("4:2:2", 1, 2), ("4:2:0", 2, 2)])
def test_chroma_has_the_resolution_of_its_subsampling(rng, name, down, across):
    image = rng.random((32, 48, 3), dtype=np.float32) * 0.4 + 0.3  # no value is clipped
    weights = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    ours = Jpeg(99.9, name).apply(image, rng) @ weights.T
    wanted = image @ weights.T
    for channel in (1, 2):
        blocks = wanted[..., channel].reshape(32 // down, down, 48 // across, across).mean(axis=(1, 3))
        wanted[..., channel] = blocks.repeat(down, axis=0).repeat(across, axis=1)
    np.testing.assert_allclose(ours, wanted, atol=1e-3)  # tables of quality 99.9 are at most 0.25 of 255


def test_unsharp_masking_leaves_halos_of_its_formula(rng):
    steps = build_steps([{"name": "unsharp", "unsharp_weight": [0.8, 0.8], "unsharp_sigma": [1.5, 1.5]}])
    edge = np.zeros((41, 41, 1), np.float32) + 0.2
    edge[:, 20:] = 0.7
    [operation] = draw_operations(steps, rng, size=(41, 41), scale=1)
    blurred = cv2.GaussianBlur(edge, (21, 21), 1.5)[..., None]
    sharp = operation.apply(edge, rng)
    np.testing.assert_allclose(sharp, edge + 0.8 * (edge - blurred), atol=1e-5)
    assert sharp.max() > 0.75 and sharp.min() < 0.15


@dataclass(frozen=True)
class Solarised(Operation):
    limit: float

    def apply(self, image, rng):
        return np.where(image > self.limit, 1 - image, image)


class SolariseStep(Step):
    """Of one's own, without a form for batches."""

    def __init__(self, *, limits):
        self.limits = limits

    def draw(self, rng, shared_rng, sizes):
        return [Solarised(rng.uniform(*self.limits))]

    def bounds(self, before):
        return before.after_filter()


@pytest.fixture
def solarise():
    DEGRADATION_STEPS.register(SolariseStep, name="solarise")
    yield {"name": "solarise", "limits": [0.5, 0.6]}
    del DEGRADATION_STEPS._objects["solarise"]


def test_a_registered_step_is_drawn_and_its_filter_counts(solarise, rng):
    shrinks = {"name": "resize", "resize_prob": [0, 1, 0], "resize_range": [0.5, 1]}
    steps = build_steps([shrinks, {**solarise, "prob": 0.5}, TO_LQ])
    assert {type(ops[1]) for ops in (_draw(seed, steps=steps) for seed in range(20))} == {Solarised, Skipped}
    assert smallest_filtered(steps, 96, 24) == 48
    with pytest.raises(ConfigError, match=r"operations\.0: solarise has no option 'limit'; .*'limits'"):
        build_steps([{"name": "solarise", "limit": 1}])
    with pytest.raises(ConfigError, match=r"operations\.0: unknown degradation step .* mean 'solarise'"):
        build_steps([{"name": "solarize"}])


def test_operations_without_a_form_for_batches_are_found_in_all_steps(solarise):
    order = {"name": "random_order", "groups": [[{**solarise, "prob": 0.1}], [TO_LQ]]}
    sizes = ImageSizes((96, 96), 4)
    assert host_operations(build_steps([{**order, "prob": 0.1}]), sizes) == ["Solarised"]
    assert host_operations(PUBLISHED, sizes) == []
    with pytest.raises(DataError, match=r"Solarised acts on the host alone; set degradation.backend=host"):
        apply_to_batch(paddle.zeros([1, 3, 8, 8]), [[Solarised(0.5)]])


def test_a_list_for_scale_1_needs_no_resize(rng):
    steps = build_steps([{"name": "blur", "blur_sigma": [1, 2]}, {"name": "jpeg", "jpeg_range": [10, 50]}])
    assert smallest_filtered(steps, 48, 48) == 48
    operations = draw_operations(steps, rng, size=(48, 48), scale=1)
    assert apply_operations(rng.random((48, 48, 3), dtype=np.float32), operations, rng).shape == (48, 48, 3)
    shrinks = {"name": "resize", "resize_prob": [0, 1, 0], "resize_range": [0.5, 1]}
    with pytest.raises(ConfigError, match="must end at the size"):
        smallest_filtered(build_steps([shrinks]), 48, 48)
