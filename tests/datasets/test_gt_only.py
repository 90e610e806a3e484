"""HR alone, with LR made on the fly."""

import numpy as np
import pytest

from ppsr.datasets.gt_only import GTDataset, ImageNetPairedDataset
from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import decode_image, read_image, to_uint8, write_image
from ppsr.imaging.resize import matlab_resize
from ppsr.prepare.bicubic import Bicubic
from ppsr.prepare.reflash import ReflashBenchmark


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("a", "b"):
        write_image(tmp_path / "hr" / f"{name}.png", rng.integers(0, 256, (35, 42, 3), dtype=np.uint8))
    return tmp_path / "hr"


def _bytes(item):
    return np.rint(item["lq"].transpose(1, 2, 0) * 255).astype(np.uint8)


def test_without_a_degradation_there_is_no_lr(folder):
    whole = GTDataset(gt_folder=str(folder))[0]
    assert set(whole) == {"gt", "gt_path"}
    assert whole["gt"].shape == (3, 32, 40)
    window = GTDataset(gt_folder=str(folder), gt_size=64)[0, 1]
    assert window["gt"].shape == (3, 64, 64)


def test_lr_of_whole_images_equals_the_prepared_files(folder, tmp_path):
    Bicubic(tmp_path / "bicubic", scales=(4,)).make(folder)
    item = GTDataset(gt_folder=str(folder), degradation="matlab_bicubic")[0]
    assert (_bytes(item) == decode_image(tmp_path / "bicubic" / "LR_bicubic" / "X4" / "ax4.png")).all()
    ReflashBenchmark(tmp_path / "reflash", seed=5).make(folder)
    variant = "blur2_bicubic_noise20_jepg50"
    item = GTDataset(gt_folder=str(folder), degradation=variant, seed=5)[1]
    assert (_bytes(item) == decode_image(tmp_path / "reflash" / "LR_degra" / variant / "b.png")).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_gray_files_are_degraded_as_the_prepared_ones(tmp_path, rng, variant):
    write_image(tmp_path / "hr" / "g.png", rng.integers(0, 256, (36, 40), dtype=np.uint8))
    ReflashBenchmark(tmp_path / "out", seed=5).make(tmp_path / "hr")
    dataset = GTDataset(gt_folder=str(tmp_path / "hr"), degradation=variant, seed=5)
    item = dataset[0]
    assert item["gt"].shape == (3, 36, 40)
    prepared = to_uint8(read_image(tmp_path / "out" / "LR_degra" / variant / "g.png"))
    assert (_bytes(item) == prepared).all()
    assert (prepared == prepared[..., :1]).all()
    window = GTDataset(gt_folder=str(tmp_path / "hr"), degradation=variant, gt_size=16)[0, 0]
    assert (window["gt"].shape, window["lq"].shape) == ((3, 16, 16), (3, 4, 4))


def test_training_samples_depend_on_seed_epoch_and_index_alone(folder):
    options = {"gt_folder": str(folder), "gt_size": 16, "degradation": "bicubic_noise20", "use_hflip": True}
    one, two, other = (GTDataset(**options, seed=seed) for seed in (0, 0, 1))
    two[1, 0]
    np.testing.assert_array_equal(one[3, 1]["lq"], two[3, 1]["lq"])
    assert (one[3, 1]["lq"] != other[3, 1]["lq"]).any()
    assert (one[3, 1]["lq"] != one[4, 1]["lq"]).any()


def test_windows_of_hr_and_lr_belong_together(tmp_path):
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None] * 3, 48, axis=0)
    write_image(tmp_path / "hr" / "a.png", np.stack([ramp] * 3, axis=2))
    dataset = GTDataset(gt_folder=str(tmp_path / "hr"), gt_size=16, degradation="matlab_bicubic")
    for epoch in range(5):
        item = dataset[epoch, 0]
        blocks = item["gt"].reshape(3, 4, 4, 4, 4).mean(axis=(2, 4))
        # shrinking a ramp gives the block means, but for the image's ends
        np.testing.assert_allclose(item["lq"], blocks, atol=4 / 255)


def test_a_broken_image_is_replaced_in_training_and_named_in_evaluation(folder):
    (folder / "a.png").write_bytes(b"broken")
    dataset = GTDataset(gt_folder=str(folder), gt_size=16)
    assert dataset[0, 0]["gt_path"].endswith("b.png")
    with pytest.raises(DataError, match=r"a\.png"):
        dataset[0]


def test_options_that_do_not_fit_are_refused(folder):
    with pytest.raises(ConfigError, match="did you mean 'matlab_bicubic'"):
        GTDataset(gt_folder=str(folder), degradation="matlab_bicubc")
    with pytest.raises(ConfigError, match="multiple of the scale 4"):
        GTDataset(gt_folder=str(folder), gt_size=18)[0, 0]


def test_lr_of_imagenet_pairs_is_neither_rounded_nor_clipped(folder):
    item = ImageNetPairedDataset(gt_folder=str(folder), scale=4, gt_size=16)[0]
    gt = item["gt"].transpose(1, 2, 0)
    np.testing.assert_array_equal(item["lq"].transpose(1, 2, 0), matlab_resize(gt, 0.25))
    assert np.abs(item["lq"] * 255 - np.rint(item["lq"] * 255)).max() > 0.1
    enlarged = ImageNetPairedDataset(gt_folder=str(folder), scale=4, gt_size=40)[0, 0]  # of 35 x 42
    assert (enlarged["gt"].shape, enlarged["lq"].shape) == ((3, 40, 40), (3, 10, 10))
