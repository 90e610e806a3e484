"""Depth pairs: channels and range."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.datasets.paired import DepthDataset
from ppsr.errors import ConfigError
from ppsr.imaging.io import write_image


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


def test_training_windows_belong_together(tmp_path, rng):
    small = rng.integers(0, 256, (12, 16), dtype=np.uint8)
    folders = _folders(tmp_path, small.repeat(4, axis=0).repeat(4, axis=1))
    item = DepthDataset(**folders, gt_size=16, channels=1, use_hflip=True, use_rot=True)[2, 0]
    assert (item["gt"].shape, item["lq"].shape) == ((1, 16, 16), (1, 4, 4))
    np.testing.assert_array_equal(item["gt"][:, ::4, ::4], item["lq"])


def test_other_numbers_of_channels_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="got 2"):
        DepthDataset(gt_folder="x", lq_folder="y", channels=2)
