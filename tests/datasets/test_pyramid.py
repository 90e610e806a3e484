"""Pairs with middle sizes: where they come from, that they belong together, and unpaired images."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ppsr.datasets.pyramid import PyramidDataset, middle_sizes
from ppsr.errors import ConfigError, DataError
from ppsr.imaging import write_image
from ppsr.imaging.resize import matlab_resize


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for index in range(3):
        small = rng.random((8, 8, 3)).astype(np.float32)
        gt = np.clip(cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC), 0, 1)
        gt = np.round(gt * 255).astype(np.uint8)
        write_image(root / "gt" / f"{index}.png", gt)
        for factor, name in ((1 / 8, "x1"), (1 / 4, "x2"), (1 / 2, "x4")):
            small = np.round(matlab_resize(gt / 255.0, factor).clip(0, 1) * 255).astype(np.uint8)
            write_image(root / name / f"{index}.png", small)
    write_image(root / "real" / "r.png", np.full((20, 30, 3), 77, np.uint8))
    return {name: root / name for name in ("gt", "x1", "x2", "x4", "real")}


def make(folders: dict[str, Path], **options) -> PyramidDataset:
    common = {"gt_folder": folders["gt"], "lq_folder": folders["x1"], "scale": 8, "gt_size": 32}
    return PyramidDataset(**{k: str(v) if isinstance(v, Path) else v for k, v in common.items()}, **options)


def test_middle_sizes_are_the_doublings_in_between() -> None:
    assert [middle_sizes(s) for s in (2, 4, 8)] == [(), (2,), (2, 4)]
    with pytest.raises(ConfigError, match="got 3"):
        middle_sizes(3)


def test_sizes_from_folders_equal_those_made_by_matlab_resize(folders: dict[str, Path]) -> None:
    read = make(folders, level_folders={2: str(folders["x2"]), 4: str(folders["x4"])}, use_hflip=True)
    made = make(folders, use_hflip=True)
    for epoch in range(4):
        one, two = read[epoch, 1], made[epoch, 1]
        for key, side in {"lq": 4, "lq_x2": 8, "lq_x4": 16, "gt": 32}.items():
            assert one[key].shape == (3, side, side)
            np.testing.assert_allclose(one[key], two[key], atol=1e-6)
        assert "paired" not in one


def test_opencv_source_shrinks_the_window_itself(folders: dict[str, Path]) -> None:
    item = make(folders, level_source="opencv")[0, 0]
    window = np.round(item["gt"].transpose(1, 2, 0) * 255).astype(np.uint8)
    expected = cv2.resize(window, (16, 16), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(np.round(item["lq_x4"].transpose(1, 2, 0) * 255), expected)


def test_unpaired_share_is_kept_and_items_repeat(folders: dict[str, Path]) -> None:
    data = make(folders, unpaired_folder=str(folders["real"]), unpaired_ratio=0.3)
    flags = [data[epoch, index]["paired"] for epoch in range(100) for index in range(3)]
    assert 0.2 < 1 - np.mean(flags) < 0.4
    key = divmod(flags.index(0), 3)
    one, two = data[key], data[key]
    np.testing.assert_array_equal(one["lq"], two["lq"])
    assert np.all(one["lq"] == np.float32(77) / 255)
    assert not one["gt"].any()
    assert one["gt"].shape == (3, 32, 32)


def test_wrong_sizes_and_options_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="x4"):
        make(folders, level_folders={4: str(folders["x2"])})[0, 0]
    with pytest.raises(ConfigError, match="level_folders"):
        make(folders, level_folders={8: str(folders["x2"])})
    with pytest.raises(ConfigError, match="level_source"):
        make(folders, level_source="pil")
    with pytest.raises(ConfigError, match="unpaired_ratio"):
        make(folders, unpaired_ratio=1.5)


def test_sides_that_are_no_multiples_of_the_scale_are_cut(tmp_path: Path) -> None:
    gt = np.random.default_rng(0).integers(0, 256, (103, 130, 3), dtype=np.uint8)
    write_image(tmp_path / "gt" / "a.png", gt)
    write_image(tmp_path / "x1" / "a.png", np.ascontiguousarray(gt[:100:4, :128:4]))
    write_image(tmp_path / "x2" / "a.png", np.ascontiguousarray(gt[:102:2, :130:2]))
    options = {"gt_folder": str(tmp_path / "gt"), "lq_folder": str(tmp_path / "x1"), "gt_size": 16}
    data = PyramidDataset(**options, level_folders={2: str(tmp_path / "x2")})
    for epoch in range(5):
        item = data[epoch, 0]
        np.testing.assert_array_equal(item["gt"][:, ::4, ::4], item["lq"])
        np.testing.assert_array_equal(item["lq_x2"][:, ::2, ::2], item["lq"])
    assert PyramidDataset(**options)[0, 0]["lq_x2"].shape == (3, 8, 8)
    assert data[0]["gt"].shape == (3, 100, 128)
