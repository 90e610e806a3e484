"""Pairs of two folders."""

import numpy as np
import pytest

from ppsr.datasets.paired import DepthDataset, SRDataset
from ppsr.datasets.pyramid import PyramidDataset
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import write_image


def _pair(root, rng, hr, lr):
    gt = rng.integers(0, 256, (*hr, 3), dtype=np.uint8)
    write_image(root / "gt" / "a.png", gt)
    write_image(root / "lq" / "a.png", np.ascontiguousarray(gt[::4, ::4][: lr[0], : lr[1]]))
    return {"gt_folder": str(root / "gt"), "lq_folder": str(root / "lq")}


@pytest.mark.parametrize("kind", [SRDataset, DepthDataset])
def test_hr_is_cut_to_what_lr_covers(tmp_path, rng, kind):
    folders = _pair(tmp_path, rng, (101, 131), (25, 32))
    assert kind(**folders)[0]["gt"].shape == (3, 100, 128)
    windows = kind(**folders, gt_size=32)
    for epoch in range(5):
        item = windows[epoch, 0]
        np.testing.assert_array_equal(item["gt"][:, ::4, ::4], item["lq"])


@pytest.mark.parametrize("hr", [(104, 128), (101, 132), (99, 128)])
def test_images_that_do_not_belong_together_are_refused(tmp_path, rng, hr):
    folders = _pair(tmp_path, rng, hr, (25, 32))
    with pytest.raises(DataError, match=r"is not 4 times LR \(25, 32\)"):
        SRDataset(**folders, gt_size=32)[0, 0]


@pytest.mark.parametrize("kind", [SRDataset, DepthDataset, PyramidDataset])
def test_a_window_that_is_no_multiple_of_the_scale_is_refused_at_once(tmp_path, rng, kind):
    folders = _pair(tmp_path, rng, (100, 128), (25, 32))
    with pytest.raises(ConfigError, match="multiple of the scale 4, got 30"):
        kind(**folders, gt_size=30)


def test_lr_images_of_one_name_in_several_folders_are_refused(tmp_path, rng):
    for part in ("a", "b"):
        _pair(tmp_path / part, rng, (100, 128), (25, 32))
    folders = {"gt_folder": str(tmp_path / "a" / "gt"), "lq_folder": str(tmp_path)}
    with pytest.raises(DataError, match=r"'a/gt/a\.png', .* and 2 more, several of the name 'a'"):
        SRDataset(**folders)


@pytest.mark.parametrize("kind", [SRDataset, DepthDataset])
def test_kept_images_give_the_same_windows_without_their_files(tmp_path, rng, kind):
    folders = _pair(tmp_path, rng, (100, 128), (25, 32))
    fresh = kind(**folders, gt_size=32, use_hflip=True)
    kept = kind(**folders, gt_size=32, use_hflip=True, cache=True)
    expected = [fresh[epoch, 0] for epoch in range(4)]
    assert kept[0, 0]["gt"].dtype == np.float32
    (tmp_path / "gt" / "a.png").unlink()
    for epoch, item in enumerate(expected):
        for name in ("lq", "gt"):
            np.testing.assert_array_equal(kept[epoch, 0][name], item[name])


def _folders(tmp_path, gt):
    write_image(tmp_path / "hr" / "a.png", gt)
    write_image(tmp_path / "lr" / "a.png", gt[::4, ::4])
    return {"gt_folder": str(tmp_path / "hr"), "lq_folder": str(tmp_path / "lr")}


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_maps_have_one_channel_or_three_equal_ones(tmp_path, rng, channels):
    gt = rng.integers(0, 256, (24, 32), dtype=np.uint8)
    item = DepthDataset(**_folders(tmp_path, gt), channels=channels)[0]
    assert (item["gt"].shape, item["lq"].shape) == ((channels, 24, 32), (channels, 6, 8))
    for plane in item["gt"]:
        np.testing.assert_allclose(plane * 255, gt, atol=1e-4)


def test_16_bit_maps_keep_range_and_precision(tmp_path):
    gt = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 50
    item = DepthDataset(**_folders(tmp_path, gt), channels=1)[0]
    np.testing.assert_array_equal(np.rint(item["gt"][0] * 65535), gt)
    assert item["gt"].dtype == np.float32


def test_of_colour_files_the_first_channel_counts(tmp_path, rng):
    gt = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    item = DepthDataset(**_folders(tmp_path, gt))[0]
    for plane in item["gt"]:
        np.testing.assert_allclose(plane * 255, gt[..., 0], atol=1e-4)


def test_other_numbers_of_channels_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="got 2"):
        DepthDataset(gt_folder="x", lq_folder="y", channels=2)
