"""Levels of DASR that a configuration changes."""

import numpy as np
import pytest

from ppsr.degradations.dasr import LEVELS, build_operations, describe, draw_params, levels_with
from ppsr.degradations.operations import Blur
from ppsr.errors import ConfigError


def test_options_of_one_stage_leave_all_others_as_published():
    levels = levels_with({"severe": {"stages": [{}, {"jpeg_range": [20, 60]}], "final_sinc_prob": 0.5}})
    assert levels["severe"].stages[1].jpeg.jpeg_range == [20, 60]
    assert levels["severe"].stages[0] == LEVELS["severe"].stages[0]
    assert levels["severe"].final_sinc_prob == 0.5
    assert levels["weak"] is LEVELS["weak"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sever": {}}, "did you mean 'severe'"),
        ({"weak": None}, "weak: a mapping of stages, final_sinc_prob is needed, got None"),
        ({"weak": {"stage": []}}, "weak: unknown option 'stage'; did you mean 'stages'"),
        ({"weak": {"stages": [{}, {}]}}, r"weak: .*up to 1 stages, got \[\{\}, \{\}\]"),
        ({"weak": {"stages": [{"jpeg": [1, 2]}]}}, "weak: unknown option 'jpeg'; did you mean 'jpeg_range'"),
        ({"weak": {"stages": [{"jpeg_range": [95]}]}}, "weak: jpeg: jpeg_range must be"),
        ({"weak": {"stages": [{"resize_prob": [1, 1, 1]}]}}, "weak: resize: .*sum to 1"),
        ({"weak": {"stages": [{"kernel_range": [8, 20]}]}}, "weak: blur: kernel_range must be two odd"),
        (
            {"severe": {"final_sinc_prob": 8}},
            "severe: sinc: final_sinc_prob must be a number between 0 and 1, got 8",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_level(changes, message):
    with pytest.raises(ConfigError, match=message):
        levels_with(changes)


def test_a_range_of_one_value_is_described_as_zero(rng):
    fixed = {"jpeg_range": [90, 90], "noise_range": [5, 5], "poisson_scale_range": [1, 1]}
    level = levels_with({"weak": {"stages": [fixed]}})["weak"]
    described = describe(draw_params(rng, level), level)
    assert described[26] == described[18] == 0
    assert np.isfinite(described).all()


def _kinds(level, rng):
    operations = build_operations(draw_params(rng, level), (64, 64), 4)
    return [type(operation).__name__ for operation in operations]


@pytest.mark.parametrize("name", ["weak", "standard", "severe"])
def test_first_blur_acts_with_its_probability(name, rng):
    level = levels_with({name: {"stages": [{"blur_prob": 0}]}})[name]
    assert _kinds(level, rng)[0] == "Resize"
    level = levels_with({name: {"stages": [{"blur_prob": 0.5}]}})[name]
    blurred = sum(_kinds(level, rng)[0] == "Blur" for _ in range(200))
    assert 60 < blurred < 140  # 5.6 standard deviations
    assert all(_kinds(LEVELS[name], rng)[0] == "Blur" for _ in range(20))


def test_levels_of_one_stage_end_with_the_sinc_filter_that_is_asked_for(rng):
    assert _kinds(LEVELS["weak"], rng) == ["Blur", "Resize", "Noise", "Jpeg", "Resize"]
    level = levels_with({"weak": {"final_sinc_prob": 1.0}})["weak"]
    params = draw_params(rng, level)
    *_, resize, sinc = build_operations(params, (64, 64), 4)
    assert resize.size == (16, 16) and isinstance(sinc, Blur)
    np.testing.assert_array_equal(sinc.kernel, params.sinc.values)
    described = describe(params, level)
    assert described[9] == pytest.approx((params.sinc.cutoff - np.pi / 3) / (2 * np.pi / 3), abs=1e-6)
    assert not described[28:30].any()  # JPEG always comes before the last resize
