"""The pairs that HAT and DRCT are pre-trained on."""

import pytest

from ppsr.datasets.gt_only import ImageNetPairedDataset
from ppsr.imaging.io import write_image
from tests.golden.files import Golden, assert_close, golden


@golden("imagenetpair_*")
@pytest.mark.smoke
def test_whole_images_of_the_validation_phase(path, tmp_path):
    g = Golden(path)
    write_image(tmp_path / "a.png", g["input/rgb_uint8"])
    dataset = ImageNetPairedDataset(gt_folder=str(tmp_path), scale=g.meta["scale"], gt_size=g.meta["gt_size"])
    item = dataset[0]
    assert_close(item["lq"], g["output/lq_chw"], atol=1e-5, what="lq")
    assert_close(item["gt"], g["output/gt_chw"], atol=1e-5, what="gt")
