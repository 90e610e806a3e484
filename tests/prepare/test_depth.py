"""Depth pairs for training and testing."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.io import savemat

from ppsr.errors import ConfigError, DataError
from ppsr.evaluation.evaluate import evaluate
from ppsr.imaging.io import decode_image, list_images, write_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.prepare.depth import DepthTest, DepthTraining
from ppsr.prepare.mat_files import load_matrices
from tests.golden.files import Golden, assert_close, golden


@pytest.fixture
def depth(rng):
    return np.clip(rng.normal(120, 40, (66, 83)), 1, 255).astype(np.uint8)


@pytest.fixture
def source(tmp_path, depth):
    write_image(tmp_path / "in" / "art.png", depth)
    return tmp_path / "in"


def test_training_pairs_are_cut_and_shrunk_with_noise_that_a_seed_decides(source, tmp_path, depth):
    made = DepthTraining(tmp_path / "a").make(source)
    assert (made.written, made.exit_code) == (2, 0)
    hr, lr = (tmp_path / "a" / f"data_all_{kind}_x4" / "art_x4.png" for kind in ("HR", "LR"))
    assert (decode_image(hr) == depth[:64, :80]).all()
    clean = matlab_resize_integers(depth[:64, :80], 0.25)
    noise = decode_image(lr).astype(float) - clean
    assert noise.shape == (16, 20)
    # variance 651 / depth, about 2.3 at depth 120, in 320 samples
    assert 1.9 < noise.std() < 2.8
    DepthTraining(tmp_path / "same").make(source)
    DepthTraining(tmp_path / "other", seed=1).make(source)
    name = "data_all_LR_x4/art_x4.png"
    assert (tmp_path / "same" / name).read_bytes() == lr.read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != lr.read_bytes()


def test_a_name_that_has_the_scale_already_does_not_get_it_twice(tmp_path, depth):
    write_image(tmp_path / "in" / "art_x4.png", depth)
    DepthTraining(tmp_path / "out").make(tmp_path / "in")
    assert [p.name for p in list_images(tmp_path / "out", recursive=True)] == ["art_x4.png"] * 2


def test_of_colour_images_the_first_channel_counts(tmp_path, depth):
    write_image(tmp_path / "in" / "art.png", np.stack([depth, depth * 0, depth * 0], axis=2))
    DepthTraining(tmp_path / "out").make(tmp_path / "in")
    assert (decode_image(tmp_path / "out" / "data_all_HR_x4" / "art_x4.png") == depth[:64, :80]).all()


def test_16_bit_maps_fail_because_the_noise_is_defined_on_8(tmp_path):
    write_image(tmp_path / "in" / "deep.png", np.zeros((32, 32), np.uint16))
    assert "8-bit" in DepthTraining(tmp_path / "out").make(tmp_path / "in").failed["deep.png"]


def test_raw_test_maps_equal_what_evaluation_makes(source, tmp_path):
    DepthTest(tmp_path / "out").make(source)
    hr, lr = tmp_path / "out" / "test_HR", tmp_path / "out" / "test_LR_x4"
    read = evaluate(protocol="dsr", gt=hr, lq=lr, method="bicubic").sets[0].rows
    made = evaluate(protocol="dsr", gt=source, method="bicubic").sets[0].rows
    assert read["art_x4"] == made["art"]


def test_the_intended_way_of_shrinking_needs_another_folder(source, tmp_path):
    DepthTest(tmp_path / "out").make(source)
    with pytest.raises(ConfigError, match="'published': True"):
        DepthTest(tmp_path / "out", published=False).make(source)
    DepthTest(tmp_path / "intended", published=False).make(source)
    name = "test_LR_x4/art_x4.png"
    assert (tmp_path / "out" / name).read_bytes() != (tmp_path / "intended" / name).read_bytes()


@pytest.mark.slow
@golden("drn_dsr_protocol*")
def test_mat_files_become_the_published_images(path, tmp_path):
    g = Golden(path)
    (tmp_path / "in").mkdir()
    variables = {name: g[f"input/mat/{name}"] for name in ("im_gt_y", "im_b_y")}
    savemat(tmp_path / "in" / "cones_x4.mat", variables, do_compression=True)
    for published, expected in ((True, "lr_png"), (False, "lr_png_intended_cubic")):
        out = tmp_path / expected
        assert DepthTest(out, published=published).make(tmp_path / "in").written == 2
        assert_close(decode_image(out / "test_HR" / "cones_x4.png"), g["output/mat/hr_png"])
        assert_close(decode_image(out / "test_LR_x4" / "cones_x4.png"), g[f"output/mat/{expected}"])


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"im_gt_y": np.ones((8, 8))}, "no variable im_b_y"),
        ({"im_gt_y": np.ones((8, 8)), "im_b_y": "text"}, "is not a matrix"),
        ({"im_gt_y": np.ones((8, 8)), "im_b_y": np.ones((8, 8)) * 1j}, "not real, full matrices"),
        ({"im_gt_y": np.ones((8, 8)), "im_b_y": np.ones((2, 2, 2))}, "is not a matrix"),
        ({"im_gt_y": np.ones((8, 8)), "im_b_y": np.ones((8, 4))}, "both must be"),
        ({"im_gt_y": np.ones((8, 8), np.uint8), "im_b_y": np.ones((8, 8))}, "both must be"),
        ({"im_gt_y": np.ones((8, 3)), "im_b_y": np.ones((8, 3))}, "smaller than 4 pixels"),
        ({"im_gt_y": np.ones((8, 8)) * 200, "im_b_y": np.ones((8, 8))}, "the largest is 200"),
        ({"im_gt_y": np.full((8, 8), np.nan), "im_b_y": np.ones((8, 8))}, "the largest is nan"),
    ],
)
def test_mat_files_with_other_contents_fail_by_name(tmp_path, monkeypatch, variables, reason):
    monkeypatch.setattr("ppsr.prepare.mat_files.ProcessPoolExecutor", _Here)
    (tmp_path / "in").mkdir()
    savemat(tmp_path / "in" / "a.mat", variables)
    done = DepthTest(tmp_path / "out").make(tmp_path / "in")
    assert reason in done.failed["a.mat"]
    assert done.exit_code == 3


class _Here(ThreadPoolExecutor):
    """Instead of a process, whose start takes a second."""

    def __init__(self, workers, *_, **__):
        super().__init__(workers)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "version 7.3"), (b"x" * 300, "cannot read")],
)
def test_other_files_are_named(tmp_path, content, reason):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        load_matrices(tmp_path / "a.mat", ("im_gt_y",))


def test_a_matrix_that_is_far_larger_than_its_file_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"im_gt_y": np.zeros((2000, 2000))}, do_compression=True)
    with pytest.raises(DataError, match="is too large"):
        load_matrices(tmp_path / "a.mat", ("im_gt_y",))


@pytest.mark.slow
def test_a_mat_file_that_crashes_scipy_fails_alone(tmp_path):
    (tmp_path / "in").mkdir()
    variables = {name: np.full((8, 8), 0.5) for name in ("im_gt_y", "im_b_y")}
    for name in ("a", "b"):
        savemat(tmp_path / "in" / f"{name}.mat", variables)
    damaged = bytearray((tmp_path / "in" / "a.mat").read_bytes())
    damaged[144] = 5  # the class of a sparse matrix
    (tmp_path / "in" / "a.mat").write_bytes(damaged)
    done = DepthTest(tmp_path / "out").make(tmp_path / "in")
    assert done.written == 2
    assert "a.mat" in done.failed["a.mat"]


def test_crops_of_hr_and_lr_show_the_same_places(tmp_path, rng):
    small = rng.integers(1, 256, (12, 14), dtype=np.uint8)
    write_image(tmp_path / "data_all_HR_x4" / "a_x4.png", small.repeat(4, axis=0).repeat(4, axis=1))
    write_image(tmp_path / "data_all_LR_x4" / "a_x4.png", small)
    done = DepthTraining(tmp_path).crop(size=32, step=16)
    high, low = (list_images(tmp_path / f"data_all_{kind}_x4_sub") for kind in ("HR", "LR"))
    assert done.written == len(high) + len(low) == 12
    for a, b in zip(high, low, strict=True):
        assert a.name == b.name
        assert (decode_image(a)[::4, ::4] == decode_image(b)).all()


def test_crops_that_do_not_fit_the_scale_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="multiples of the scale 4"):
        DepthTraining(tmp_path).crop(size=30)


def test_a_pipe_is_no_mat_file(tmp_path):
    os.mkfifo(tmp_path / "a.mat")
    with pytest.raises(DataError, match="not a regular file"):
        load_matrices(tmp_path / "a.mat", ("data",))
