"""Data sets that degrade while training, on the host and on the device."""

import pickle

import numpy as np
import paddle
import pytest
from paddle.io.dataloader.collate import default_collate_fn

from ppsr.datasets.dasr import DASRDataset
from ppsr.datasets.realesrgan import RealESRGANDataset
from ppsr.degradations.blur import usm_sharpen
from ppsr.degradations.operations import Noise
from ppsr.errors import ConfigError
from ppsr.imaging.resize import interpolate
from tests.engine.helpers import fingerprint, make_images, make_trainer, write_config

SMALL = {"scale": 2, "gt_size": 16, "crop_pad_size": 80, "seed": 5}
TO_LQ = [{"name": "resize", "relative_to": "lq"}]
KEYS = [(0, 1), (0, 3), (2, 0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(make_images(tmp_path_factory.mktemp("hr")))


def _batch(dataset, keys=KEYS):
    items = default_collate_fn([dataset[key] for key in keys])
    dataset.prepare_batch(items)
    batch = {k: paddle.to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in items.items()}
    dataset.finish_batch(batch)
    return batch


def _dataset(folder, backend, cls=RealESRGANDataset, **options):
    degradation = {"backend": backend, **options.pop("degradation", {})}
    return cls(gt_folder=folder, degradation=degradation, **{**SMALL, **options})


@pytest.mark.parametrize("backend", ["host", "device"])
@pytest.mark.parametrize("keep_gt", [False, True])
def test_a_batch_holds_pairs_in_8_bit_levels(folder, backend, keep_gt):
    batch = _batch(_dataset(folder, backend, keep_gt=keep_gt))
    assert set(batch) == {"lq", "gt", "gt_path"} | ({"gt_usm"} if keep_gt else set())
    lq, gt = batch["lq"].numpy(), batch["gt"].numpy()
    assert lq.shape == (3, 3, 8, 8)
    assert gt.shape == (3, 3, 16, 16)
    assert lq.dtype == gt.dtype == np.float32
    assert np.abs(lq * 255 - np.rint(lq * 255)).max() < 1e-4
    assert min(lq.min(), gt.min()) >= 0 and max(lq.max(), gt.max()) <= 1


@pytest.mark.parametrize("backend", ["host", "device"])
def test_batches_depend_on_seed_epoch_and_index_alone(folder, backend):
    one, same = (_batch(_dataset(folder, backend)) for _ in range(2))
    other = _batch(_dataset(folder, backend, seed=6))
    later = _batch(_dataset(folder, backend), [(epoch + 1, index) for epoch, index in KEYS])
    for name in ("lq", "gt"):
        np.testing.assert_array_equal(one[name].numpy(), same[name].numpy())
        assert (one[name].numpy() != other[name].numpy()).any()
    assert (one["lq"].numpy() != later["lq"].numpy()).any()


@pytest.mark.parametrize("backend", ["host", "device"])
def test_lq_and_gt_show_the_same_place(folder, backend):
    batch = _batch(_dataset(folder, backend, gt_usm=False, degradation={"operations": TO_LQ}))
    for lq, gt in zip(batch["lq"].numpy(), batch["gt"].numpy(), strict=True):
        small = interpolate(gt.transpose(1, 2, 0), mode="area", size=(8, 8)).transpose(2, 0, 1)
        # the images are flat squares: only next to an edge do the modes of resizing differ
        assert (np.abs(lq - small) < 1 / 255).mean() > 0.7
        moved = np.roll(small, 4, axis=1)
        assert np.abs(lq - small).mean() < 0.5 * np.abs(lq - moved).mean()


@pytest.mark.parametrize("backend", ["host", "device"])
def test_the_plain_target_stays_beside_the_sharpened_one(folder, backend):
    options = {"gt_size": 80, "degradation": {"operations": TO_LQ}}
    both = _batch(_dataset(folder, backend, keep_gt=True, **options))
    sharp = _batch(_dataset(folder, backend, **options))
    plain = _batch(_dataset(folder, backend, gt_usm=False, **options))
    np.testing.assert_array_equal(both["gt"].numpy(), plain["gt"].numpy())
    np.testing.assert_array_equal(both["gt_usm"].numpy(), sharp["gt"].numpy())
    expected = [usm_sharpen(np.ascontiguousarray(x.transpose(1, 2, 0))) for x in plain["gt"].numpy()]
    assert np.abs(both["gt_usm"].numpy() - np.stack(expected).transpose(0, 3, 1, 2)).max() < 1e-5


def test_the_device_degrades_the_windows_that_the_host_does(folder):
    options = {"gt_size": 80, "gt_usm": False}
    host, device = (_batch(_dataset(folder, backend, **options)) for backend in ("host", "device"))
    np.testing.assert_array_equal(host["gt"].numpy(), device["gt"].numpy())


def test_dasr_on_the_device_carries_its_parameters(folder):
    dataset = _dataset(folder, "device", DASRDataset)
    batches = [_batch(dataset, [(epoch, index) for index in range(4)]) for epoch in range(6)]
    params = np.concatenate([batch["degradation_params"] for batch in batches])
    assert params.shape == (24, 33)
    for batch in params.reshape(6, 4, 33):
        # first resize and order of the last steps are common to a batch, sizes and sigmas of kernels are not
        assert np.ptp(batch[:, [10, 11, 12, 13, 28, 29]], axis=0).max() == 0
        assert np.ptp(batch[:, 1]) > 0
    assert np.ptp(params[:, 10]) > 0


def test_every_stage_can_be_looked_at(folder):
    stages = dict(_dataset(folder, "device").previews(1))["degradation"]
    names = [name for name, _ in stages]
    assert names[:8] == ["target", "blur", "resize", "noise", "jpeg", "blur", "resize", "noise"]
    assert names[-1] == "8 bit"
    assert stages[0][1].shape == (80, 80, 3)
    assert stages[-1][1].shape == (40, 40, 3)
    assert set(_dataset(folder, "host", DASRDataset).previews(1)) == {"weak", "standard", "severe"}


@pytest.mark.parametrize("cls", [RealESRGANDataset, DASRDataset])
def test_a_batch_is_degraded_on_the_device_without_waiting_for_it(folder, cls, no_waiting):
    dataset = _dataset(folder, "device", cls)
    seen = set()
    for epoch in range(6):
        items = default_collate_fn([dataset[epoch, index] for index in (0, 1, 2)])
        dataset.prepare_batch(items)
        seen |= {op.kind for own in items["choices"].views[0] for op in own if isinstance(op, Noise)}
        batch = {"gt": paddle.to_tensor(items["gt"]), "choices": pickle.loads(pickle.dumps(items["choices"]))}
        dataset.finish_batch(batch)
        assert batch["lq"].shape == [3, 3, 8, 8]
    assert seen == {"gaussian", "poisson"}


def test_the_host_is_the_default_on_a_cpu(folder):
    paddle.set_device("cpu")
    assert RealESRGANDataset(gt_folder=folder, **SMALL).backend == "host"
    assert DASRDataset(gt_folder=folder, **SMALL).backend == "host"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degradation": {"backend": "gpu"}}, "'gpu' is unknown"),
        ({"degradation": {"operation": []}}, "operations"),
        ({"crop_pad_size": 64}, "give at least 80"),
        ({"gt_size": 15}, "multiple of the scale 2"),
        ({"gt_usm": False, "keep_gt": True}, "needs gt_usm"),
    ],
)
def test_wrong_options_are_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        RealESRGANDataset(gt_folder=folder, **{**SMALL, **options})


def _config(tmp_path):
    model = {
        "name": "SRModel",
        "generator": {"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
        "pixel_criterion": {"name": "L1Loss"},
    }
    optimizer = {"name": "Adam", "net_names": ["generator"]}
    return write_config(tmp_path, model=model, optimizer=optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("backend", ["host", "device"])
def test_five_and_five_steps_with_a_pool_equal_ten(tmp_path, backend, workers):
    options = ["dataset.train.name=RealESRGANDataset", f"dataset.train.degradation.backend={backend}"]
    options += [f"dataset.train.num_workers={workers}", "dataset.train.keep_gt=true"]
    options += ["total_iters=10", "snapshot_config.interval=5"]
    config = _config(tmp_path)
    assert make_trainer(config, tmp_path / "straight", options).train() == 0
    assert make_trainer(config, tmp_path / "split", [*options, "total_iters=5"]).train() == 0
    rest = make_trainer(config, tmp_path / "split", options)
    assert rest.resume()
    assert set(rest.state.pool.stored) == {"lq", "gt", "gt_usm"}
    assert rest.train() == 0
    assert fingerprint(tmp_path / "split") == fingerprint(tmp_path / "straight")


@pytest.mark.parametrize("backend", ["host", "device"])
@pytest.mark.parametrize("cls", [RealESRGANDataset, DASRDataset])
def test_two_views_show_one_place_degraded_differently(folder, backend, cls):
    batch = _batch(_dataset(folder, backend, cls, views=2))
    one, other = batch["lq"].numpy(), batch["lq_view2"].numpy()
    assert one.shape == other.shape == (3, 3, 8, 8)
    assert all((a != b).any() for a, b in zip(one, other, strict=True))
    if cls is RealESRGANDataset:
        # without random blur and noise, what differs is the mode of resizing alone
        plain = _batch(_dataset(folder, backend, views=2, gt_usm=False, degradation={"operations": TO_LQ}))
        assert (np.abs(plain["lq"].numpy() - plain["lq_view2"].numpy()) < 1 / 255).mean() > 0.7
    with pytest.raises(ConfigError, match="views"):
        _dataset(folder, backend, cls, views=3)
