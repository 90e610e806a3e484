"""Sample types on their way to the device, numbers of channels, and pairs that have no window."""

import logging

import numpy as np
import paddle
import pytest
import tifffile

from ppsr.config.schema import LoaderOptions
from ppsr.datasets.dasr import DASRDataset
from ppsr.datasets.gt_only import GTDataset
from ppsr.datasets.paired import DepthDataset, SRDataset
from ppsr.datasets.pyramid import PyramidDataset
from ppsr.datasets.realesrgan import RealESRGANDataset
from ppsr.datasets.samples import uint16_to_int16
from ppsr.degradations.device import to_unit
from ppsr.engine import loader
from ppsr.engine.distributed import Group
from ppsr.engine.loader import build_stream, check_samples, fit_channels
from ppsr.errors import ConfigError, DataError
from ppsr.generators.srvgg import SRVGGNetCompact
from ppsr.imaging.io import write_image


def _write_bands(path, image):
    planes = image[..., 0] if image.shape[2] == 1 else image
    config = None if image.shape[2] == 1 else "contig"
    tifffile.imwrite(path, planes, photometric="minisblack", planarconfig=config)


def _folders(root, count, rng, *, channels=3, dtype=np.uint8, size=(16, 20), suffix=".png"):
    for index in range(count):
        for side, factor in (("hr", 2), ("lr", 1)):
            shape = (size[0] * factor, size[1] * factor, channels)
            image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
            path = root / side / f"{index:03d}{suffix}"
            if suffix == ".tif":
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_bands(path, image)
            else:
                write_image(path, image)
    return {"gt_folder": str(root / "hr"), "lq_folder": str(root / "lr"), "scale": 2}


def _stream(dataset, workers=0, batch_size=4):
    options = LoaderOptions(batch_size=batch_size, num_workers=workers, shuffle=False)
    return build_stream(dataset, options, Group(), seed=0, samples_done=0)


def test_division_on_the_device_is_that_of_the_host():
    codes = np.arange(256, dtype=np.uint8)
    ours = to_unit(paddle.to_tensor(codes)).numpy()
    np.testing.assert_array_equal(ours, codes.astype(np.float32) / 255)
    words = {"gt": np.arange(65536, dtype=np.uint16)}
    ours = to_unit(paddle.to_tensor(uint16_to_int16(words)["gt"])).numpy()
    np.testing.assert_array_equal(ours, words["gt"].astype(np.float32) / 65535)


def _datasets(folders, huge_folder):
    hr = {"gt_folder": folders["gt_folder"], "scale": 2}
    yield SRDataset(**folders, gt_size=16, use_hflip=True, use_rot=True), {"lq", "gt"}
    yield GTDataset(**hr, gt_size=16, degradation="matlab_bicubic"), {"lq", "gt"}
    yield GTDataset(**hr, gt_size=64), {"gt"}
    degradation = {"backend": "device", "operations": [{"name": "resize", "relative_to": "lq"}]}
    yield RealESRGANDataset(**hr, gt_size=16, crop_pad_size=32, degradation=degradation), {"gt"}
    yield DepthDataset(**folders, gt_size=16), {"lq", "gt"}
    real = {"unpaired_folder": folders["lq_folder"], "unpaired_ratio": 0.5}
    levels = {"level_folders": {2: folders["gt_folder"]}}
    for options in ({}, {"level_source": "opencv"}, levels, real):
        pyramid = {**folders, "scale": 4, "gt_folder": huge_folder, **options}
        yield PyramidDataset(**pyramid, gt_size=16), {"lq", "lq_x2", "gt"}


def test_batches_of_8_bit_files_travel_as_8_bit_and_end_as_the_items(tmp_path, rng):
    folders = _folders(tmp_path, 4, rng)
    huge = [(f"{index:03d}", rng.integers(0, 256, (64, 80, 3), np.uint8)) for index in range(4)]
    for name, image in huge:
        write_image(tmp_path / "huge" / f"{name}.png", image)
    for dataset, small in _datasets(folders, str(tmp_path / "huge")):
        keys = [(0, index) for index in range(4)]
        for name in small:
            assert {dataset.sample(key)[name].dtype for key in keys} == {np.dtype(np.uint8)}, name
        batch = next(_stream(dataset))
        for name in {"lq", "lq_x2", "gt"} & set(batch):
            assert batch[name].dtype == paddle.float32
            if getattr(dataset, "backend", "host") == "host":
                expected = np.stack([dataset[key][name] for key in keys])
                assert expected.dtype == np.float32
                np.testing.assert_array_equal(batch[name].numpy(), expected)


@pytest.mark.parametrize("kind", [SRDataset, DepthDataset])
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_batches_of_16_bit_files_travel_as_16_bit_and_lose_nothing(tmp_path, rng, kind, workers, monkeypatch):
    dataset = kind(**_folders(tmp_path, 4, rng, dtype=np.uint16), gt_size=16)
    types = []
    monkeypatch.setattr(loader, "to_unit", lambda x, own=loader.to_unit: types.append(x.dtype) or own(x))
    batch = next(_stream(dataset, workers))
    assert types == [paddle.int16] * 2
    expected = np.stack([dataset[0, index]["gt"] for index in range(4)])
    np.testing.assert_array_equal(batch["gt"].numpy(), expected)


def test_one_batch_may_hold_8_and_16_bit(tmp_path, rng):
    folders = _folders(tmp_path, 4, rng)
    wide = rng.integers(0, 65536, (32, 40, 3), np.uint16)
    write_image(tmp_path / "hr" / "001.png", wide)
    dataset = SRDataset(**folders, gt_size=16)
    batch = next(_stream(dataset))
    assert dataset.sample((0, 1))["gt"].dtype == np.uint16
    expected = np.stack([dataset[0, index]["gt"] for index in range(4)])
    np.testing.assert_array_equal(batch["gt"].numpy(), expected)
    assert expected.max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4, 6, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_as_many_channels_as_the_network_takes_are_trained_on(tmp_path, rng, channels, dtype):
    folders = _folders(tmp_path, 4, rng, channels=channels, dtype=dtype, suffix=".tif")
    net = SRVGGNetCompact(num_in_ch=channels, num_out_ch=channels, num_feat=4, num_conv=1, upscale=2)
    hr = {"gt_folder": folders["gt_folder"], "scale": 2, "degradation": "matlab_bicubic"}
    for dataset in (SRDataset(**folders, gt_size=16), GTDataset(**hr, gt_size=16), SRDataset(**folders)):
        fit_channels(dataset, net, "dataset.train")
        batch = next(_stream(dataset))
        assert batch["lq"].shape[1] == batch["gt"].shape[1] == channels
        assert net(batch["lq"]).shape == batch["gt"].shape
    whole = SRDataset(**folders)
    whole.channels = channels
    stored = tifffile.imread(tmp_path / "hr" / "002.tif").reshape(32, 40, channels)
    expected = stored.transpose(2, 0, 1).astype(np.float32) / np.iinfo(dtype).max
    np.testing.assert_array_equal(whole[2]["gt"], expected)


@pytest.mark.parametrize(("stored", "taken"), [(3, 1), (3, 4), (4, 3), (1, 4), (6, 13)])
def test_other_channels_are_refused_with_both_numbers(tmp_path, rng, stored, taken):
    folders = _folders(tmp_path, 4, rng, channels=stored, suffix=".tif")
    dataset = SRDataset(**folders, gt_size=16)
    dataset.channels = taken
    with pytest.raises(DataError, match=rf"dataset.train: .*\.tif has {stored} channels .* takes {taken}"):
        next(_stream(dataset))


@pytest.mark.parametrize("channels", [1, 4, 6])
@pytest.mark.parametrize("kind", [RealESRGANDataset, DASRDataset])
@pytest.mark.parametrize("backend", ["host", "device"])
def test_gray_and_many_bands_are_degraded_as_they_are(tmp_path, rng, channels, kind, backend):
    folders = _folders(tmp_path, 2, rng, channels=channels, dtype=np.uint16, size=(40, 44), suffix=".tif")
    net = SRVGGNetCompact(num_in_ch=channels, num_out_ch=channels, num_feat=4, num_conv=1, upscale=2)
    small = {"scale": 2, "gt_size": 16, "crop_pad_size": 96, "views": 2, "degradation": {"backend": backend}}
    dataset = kind(gt_folder=folders["gt_folder"], **small)
    fit_channels(dataset, net, "dataset.train")
    batch = next(_stream(dataset, batch_size=2))
    assert batch["gt"].shape == [2, channels, 16, 16]
    assert batch["lq"].shape == batch["lq_view2"].shape == [2, channels, 8, 8]
    assert net(batch["lq"]).shape == batch["gt"].shape
    assert float(batch["lq"].std()) > 0


def _odd(kind, root, rng):
    image = rng.integers(0, 256, (32, 40, 3), np.uint8)
    if kind == "a row short":
        write_image(root / "lr" / "005.png", image[:15, :20])
    elif kind == "too small":
        write_image(root / "hr" / "005.png", image[:8, :8])
        write_image(root / "lr" / "005.png", image[:4, :4])
    elif kind == "unreadable":
        (root / "lr" / "005.png").write_bytes(b"no image")
    else:
        for side, shape in (("hr", (32, 40, 4)), ("lr", (16, 20, 4))):
            (root / side / "005.png").unlink()
            bands = rng.integers(0, 256, shape, np.uint8)
            _write_bands(root / side / "005.tif", bands)


@pytest.mark.parametrize("kind", ["a row short", "too small", "unreadable", "other channels"])
def test_one_odd_pair_is_named_and_replaced_by_the_next(tmp_path, rng, kind, caplog):
    folders = _folders(tmp_path, 12, rng)
    _odd(kind, tmp_path, rng)
    dataset = SRDataset(**folders, gt_size=16)
    with caplog.at_level(logging.WARNING):
        stream = _stream(dataset, batch_size=6)
        paths = [path for _ in range(4) for path in next(stream)["gt_path"]]
    names = [f"{index:03d}" for index in range(12)]
    names[5] = "006"
    assert [path[-7:-4] for path in paths] == names * 2
    assert len([record for record in caplog.records if "005" in record.getMessage()]) == 1


@pytest.mark.parametrize("kind", ["a row short", "too small", "unreadable"])
def test_an_odd_pair_is_named_before_the_first_step(tmp_path, rng, kind, caplog, monkeypatch):
    folders = _folders(tmp_path, 12, rng)
    _odd(kind, tmp_path, rng)
    dataset = SRDataset(**folders, gt_size=16)
    read = []
    monkeypatch.setattr(dataset, "_read", lambda index, own=dataset._read: read.append(index) or own(index))
    with caplog.at_level(logging.WARNING):
        check_samples(dataset, "dataset.train")
    [record] = caplog.records
    assert "dataset.train: " in record.getMessage() and "005.png" in record.getMessage()
    assert set(read) <= {5}  # all others by their headers alone


def test_sets_of_wrong_sizes_are_refused_before_the_first_step(tmp_path, rng):
    folders = _folders(tmp_path, 4, rng)
    hr = {"gt_folder": folders["gt_folder"], "scale": 2, "degradation": "matlab_bicubic"}
    for dataset, message in (
        (SRDataset(**folders, gt_size=128), r"\(16, 20\) is smaller than the 64 pixel window.*lower gt_size"),
        (SRDataset(**{**folders, "scale": 4}, gt_size=16), "is not 4 times LR"),
        (GTDataset(**hr, gt_size=128), "smaller than the 128 pixel window"),
    ):
        with pytest.raises(DataError, match=rf"dataset\.train: 4 of 4 samples cannot be used.*{message}"):
            check_samples(dataset, "dataset.train")
    check_samples(SRDataset(**folders), "dataset.train")
    check_samples(SRDataset(**folders, gt_size=32), "dataset.train")


def test_a_part_of_a_large_set_refuses_it_only_where_that_is_certain():
    class Set:
        def __init__(self, faults):
            self.faults = faults

        def __len__(self):
            return 100_000

        def find_unusable(self, limit):
            return ["x.png is odd"] * self.faults, limit

    check_samples(Set(6), "dataset.train")
    with pytest.raises(DataError, match="7 of 100 samples"):
        check_samples(Set(7), "dataset.train")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_a_stated_range_are_trained_on(tmp_path, rng, dtype):
    for name in ("hr", "lr"):
        (tmp_path / name).mkdir()
    high = (rng.random((2, 32, 40, 6)) * 3000 - 500).astype(dtype)
    for index, image in enumerate(high):
        _write_bands(tmp_path / "hr" / f"{index}.tif", image)
        _write_bands(tmp_path / "lr" / f"{index}.tif", image[::2, ::2])
    options = {"gt_folder": str(tmp_path / "hr"), "lq_folder": str(tmp_path / "lr"), "scale": 2}
    dataset = SRDataset(**options, gt_size=16, value_range=[-500, 2500])
    dataset.channels = 6
    batch = next(_stream(dataset, batch_size=2))
    assert (batch["gt"].dtype, batch["gt"].shape) == (paddle.float32, [2, 6, 16, 16])
    np.testing.assert_array_equal(batch["gt"].numpy()[..., ::2, ::2], batch["lq"].numpy())
    whole = SRDataset(**options, value_range=[-500, 2500])
    whole.channels = 6
    expected = (high[1].astype(np.float64).transpose(2, 0, 1) + 500) / 3000
    np.testing.assert_allclose(whole[1]["gt"], expected, atol=1e-7)


def test_floats_without_a_range_and_wrong_ranges_are_refused(tmp_path, rng, caplog):
    (tmp_path / "hr").mkdir()
    _write_bands(tmp_path / "hr" / "a.tif", rng.random((16, 16, 3), np.float32))
    with pytest.raises(DataError, match=r"a\.tif: 32-bit float samples .* state it \(value_range"):
        GTDataset(gt_folder=str(tmp_path / "hr"))[0]
    for wrong in ([1, 0], [0], "0-1", [0, "1"]):
        with pytest.raises(ConfigError, match="value_range must be two 32-bit floats"):
            GTDataset(gt_folder=str(tmp_path / "hr"), value_range=wrong)
    with caplog.at_level(logging.WARNING):
        image = GTDataset(gt_folder=str(tmp_path / "hr"), value_range=[0.25, 1])[0]["gt"]
    assert (image.min(), image.max() <= 1) == (0, True)
    assert "are clipped" in caplog.text
    _write_bands(tmp_path / "hr" / "a.tif", np.full((16, 16, 3), np.nan, np.float32))
    with pytest.raises(DataError, match="not all finite"):
        GTDataset(gt_folder=str(tmp_path / "hr"), value_range=[0, 1])[0]
