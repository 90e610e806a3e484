"""Real pairs among synthetic ones."""

import math

import numpy as np
import pytest

from ppsr.config.schema import LoaderOptions
from ppsr.datasets.mixed import MixedDataset
from ppsr.engine.distributed import Group
from ppsr.engine.loader import build_stream, check_samples
from ppsr.errors import ConfigError
from ppsr.imaging.io import write_image

OPERATIONS = [{"name": "noise", "noise_range": [1, 30], "poisson_scale_range": [0.05, 3]}]
OPERATIONS += [{"name": "resize", "relative_to": "lq"}]


@pytest.fixture
def sections(tmp_path):
    """Flat real pairs, whose LR is darker, and noisy images to degrade."""
    rng = np.random.default_rng(0)
    for index in range(3):
        level = 100 + 50 * index
        write_image(tmp_path / "hr" / f"{index}.png", np.full((64, 64, 3), level, np.uint8))
        write_image(tmp_path / "lr" / f"{index}.png", np.full((32, 32, 3), level - 40, np.uint8))
        write_image(tmp_path / "plain" / f"{index}.png", rng.integers(0, 256, (96, 96, 3), np.uint8))
    folders = {"gt_folder": str(tmp_path / "hr"), "lq_folder": str(tmp_path / "lr")}
    real = {"name": "SRDataset", **folders, "scale": 2, "gt_size": 32}
    synthetic = {"name": "RealESRGANDataset", "gt_folder": str(tmp_path / "plain"), "scale": 2, "gt_size": 32}
    return [
        real,
        {**synthetic, "crop_pad_size": 48, "keep_gt": True, "degradation": {"operations": OPERATIONS}},
    ]


def _is_real(item):
    return bool((item["gt"] == item["gt"].flat[0]).all())


def test_samples_keep_the_shares_and_pairs_stay_pairs(sections):
    inherited = [{key: value for key, value in part.items() if key != "scale"} for part in sections]
    data = MixedDataset(datasets=inherited, shares=[0.3, 0.7], scale=2)
    items = [data[epoch, index] for epoch in range(50) for index in range(len(data))]
    assert len(data) == 6
    # 300 draws: a deviation of 0.026
    assert np.mean([_is_real(item) for item in items]) == pytest.approx(0.3, abs=0.08)
    for item in items:
        assert (item["lq"].shape, item["gt"].shape) == ((3, 16, 16), (3, 32, 32))
        if _is_real(item):
            np.testing.assert_allclose(item["gt"].flat[0] - item["lq"], 40 / 255, atol=1e-6)
            np.testing.assert_array_equal(item["gt_usm"], item["gt"])
    np.testing.assert_array_equal(data[2, 1]["lq"], data[2, 1]["lq"])


@pytest.mark.parametrize("device", ["cpu", "gpu:0"])
def test_batches_hold_both(sections, monkeypatch, device):
    with monkeypatch.context() as patch:
        patch.setattr("paddle.get_device", lambda: device)
        data = MixedDataset(datasets=sections, shares=[0.5, 0.5], scale=2)
    data.channels = 3
    assert [part.channels for part in data.parts] == [3, 3]
    check_samples(data, "dataset.train")
    stream = build_stream(data, LoaderOptions(batch_size=6), Group(), seed=0, samples_done=0)
    batch = next(stream)
    assert batch["gt_usm"].shape == [6, 3, 32, 32]
    assert 0 < sum(map(_is_real, ({"gt": gt} for gt in batch["gt"].numpy()))) < 6


def test_what_does_not_fit_together_is_refused(sections):
    for shares in ([0.5, 0.6], [1.0], [1.5, -0.5], [0.5, math.nan]):
        with pytest.raises(ConfigError, match="as many shares that sum to 1"):
            MixedDataset(datasets=sections, shares=shares, scale=2)
    with pytest.raises(ConfigError, match="SRDataset has scale 2, MixedDataset 4"):
        MixedDataset(datasets=sections, shares=[0.5, 0.5])
    sections[1]["degradation"] = {"operations": OPERATIONS, "backend": "device"}
    with pytest.raises(ConfigError, match="must be 'host'"):
        MixedDataset(datasets=sections, shares=[0.5, 0.5], scale=2)
