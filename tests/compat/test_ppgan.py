"""The bridge to PaddleGAN, run with the released package."""

import importlib
import sys

import numpy as np
import paddle
import pytest

from ppsr.compat.paddlegan.adapters import PpganDataset, build_criterion, build_dataset
from ppsr.criterions.perceptual import PerceptualLoss
from ppsr.errors import ConfigError
from ppsr.metrics.psnr_ssim import PSNR
from ppsr.models.base import Batch
from ppsr.models.drn import DRNModel
from ppsr.registry import CRITERIONS, DATASETS, DISCRIMINATORS, GENERATORS, METRICS, MODELS
from ppsr.weights import load_state
from tests.compat.images import make_pairs
from tests.optional import needed

needed("ppgan", "PaddleGAN is not installed: pip install --no-deps ppgan==2.1.0")
needed("munch", "PaddleGAN needs munch: pip install munch")
bridge = importlib.import_module("ppsr.compat.ppgan")


def test_importing_registers_everything_under_the_prefix_and_leaves_no_stand_in():
    ours = (GENERATORS, DISCRIMINATORS, CRITERIONS, DATASETS, METRICS, MODELS)
    for registry, (_, theirs, _) in zip(ours, bridge._KINDS, strict=True):
        assert registry.names()
        assert {f"PPSR_{name}" for name in registry.names()} <= set(theirs._obj_map)
    bridge.register_all()  # twice is not an error
    assert "paddle.fluid" not in sys.modules


def test_drn_has_the_losses_of_theirs_on_the_same_batch():
    from ppgan.models.drn_model import DRN
    from ppgan.utils.config import AttrDict

    generator = AttrDict(
        name="DRNGenerator", scale=(2, 4), n_blocks=1, n_feats=4, n_colors=3, rgb_range=255, negval=0.2
    )
    paddle.seed(2)
    theirs = DRN(generator, pixel_criterion={"name": "L1Loss"})
    ours = DRNModel(generator={**generator, "train_mean_shift": False}, style="paddledepth")
    for name, net in theirs.nets.items():
        load_state(ours.nets[name], {key: value.numpy() for key, value in net.state_dict().items()})
    rng = np.random.default_rng(0)
    sides = {"lq": 8, "lq_x2": 16, "gt": 32}
    images = {k: rng.random((2, 3, s, s), dtype=np.float32) for k, s in sides.items()}
    losses = ours.losses(Batch({key: paddle.to_tensor(value) for key, value in images.items()}))
    given = {key.replace("_", ""): paddle.to_tensor(value * 255) for key, value in images.items()}
    theirs.setup_input({**given, "lq_path": ["", ""]})
    parameters = [p for net in theirs.nets.values() for p in net.parameters()]
    optimizer = paddle.optimizer.SGD(0.0, parameters)
    theirs.train_iter({"optimG": optimizer, "optimD": optimizer})
    assert float(losses["l_primary"]) == pytest.approx(float(theirs.losses["loss_promary"]), rel=1e-5)
    assert float(losses["l_dual"]) == pytest.approx(float(theirs.losses["loss_dual"]), rel=1e-5)


def test_their_drn_trains_our_generator_on_our_pyramids(tmp_path):
    from ppgan.models.drn_model import DRN
    from ppgan.utils.config import AttrDict

    gt, lq = make_pairs(tmp_path, scale=4)
    options = {"gt_folder": str(gt), "lq_folder": str(lq), "scale": 4, "gt_size": 32, "rgb_range": 255}
    (batch, *_) = paddle.io.DataLoader(build_dataset("PyramidDataset", options), batch_size=2)
    generator = AttrDict(
        name="PPSR_DRNGenerator", scale=[2, 4], n_blocks=1, n_feats=4, n_colors=3, negval=0.2
    )
    model = DRN(generator, pixel_criterion={"name": "PPSR_L1Loss"})
    before = model.nets["generator"].head.weight.numpy()
    model.setup_input(batch)
    assert model.lqx2.shape[2:] == [16, 16]
    parameters = [p for net in model.nets.values() for p in net.parameters()]
    optimizer = paddle.optimizer.SGD(0.001, parameters)
    model.train_iter({"optimG": optimizer, "optimD": optimizer})
    assert float(model.losses["loss_total"]) > 1  # images are in 0..255
    assert np.abs(model.nets["generator"].head.weight.numpy() - before).max() > 0


def test_networks_of_theirs_get_the_facts_that_we_read():
    net = GENERATORS.build({"name": "ppgan.RRDBNet", "in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 4})
    assert (net.scale, net.rgb_range) == (4, 1.0)
    net = GENERATORS.build({"name": "ppgan.DRNGenerator", "scale": (2,), "n_blocks": 1, "n_feats": 16})
    assert (net.scale, net.rgb_range) == (2, 255.0)
    assert not any(name.startswith("ppgan") for name in GENERATORS.names())


@pytest.mark.parametrize(
    ("registry", "cfg", "message"),
    [
        (GENERATORS, {"name": "ppgan.LESRCNN"}, "PaddleGAN has no generator 'LESRCNN'; did you mean"),
        (GENERATORS, {"name": "ppgan.LESRCNNGenerator", "scal": 2}, "no option 'scal'; did you mean 'scale'"),
        (GENERATORS, {"name": "ppgan.DCGenerator", "input_nz": 4, "input_nc": 3, "output_nc": 3}, "LR"),
        (METRICS, {"name": "ppgan.FID"}, "criterions of PaddleGAN can be used, not metrics"),
    ],
)
def test_what_cannot_be_used_of_theirs_is_named(registry, cfg, message):
    with pytest.raises(ConfigError, match=message):
        registry.build(cfg)


def test_a_window_network_takes_any_size_under_the_prefix():
    options = {**GENERATORS.get("SwinIR").test_args}
    net = bridge.PPGAN_GENERATORS.get("PPSR_SwinIR")(**options)
    assert net.size_multiple > 1
    plain = GENERATORS.build({"name": "SwinIR", **options})
    load_state(plain, {key: value.numpy() for key, value in net.state_dict().items()})
    net.eval()
    plain.eval()
    side = net.size_multiple
    image = paddle.rand([1, 3, side, side])
    np.testing.assert_array_equal(net(image).numpy(), plain(image).numpy())
    assert list(net(image[:, :, :-1, :-2]).shape[2:]) == [(side - 1) * net.scale, (side - 2) * net.scale]


def test_every_visit_of_a_sample_has_a_window_of_its_own_also_from_new_workers(tmp_path):
    gt, lq = make_pairs(tmp_path, scale=4)
    options = {"gt_folder": str(gt), "lq_folder": str(lq), "scale": 4, "gt_size": 16, "rgb_range": 255}
    dataset = build_dataset("PyramidDataset", options)
    assert isinstance(dataset, PpganDataset)
    first = [dataset[0]["gt"] for _ in range(6)]
    assert len({image.tobytes() for image in first}) > 1
    assert first[0].max() > 1
    assert dataset[0]["lqx2"].shape == (3, 8, 8)
    again = build_dataset("PyramidDataset", options)
    np.testing.assert_array_equal(again[0]["gt"], first[0])
    before = dataset._visits[0]
    for _ in range(2):  # PaddleGAN makes a new iterator, and so new workers, for every epoch
        list(paddle.io.DataLoader(dataset, batch_size=2, num_workers=1, use_shared_memory=False))
    assert dataset._visits[0] == before + 2


def test_degradation_on_the_device_is_refused_by_name(tmp_path):
    gt, _ = make_pairs(tmp_path, scale=2)
    options = {"gt_folder": str(gt), "scale": 2, "gt_size": 16, "crop_pad_size": 80}
    dataset = build_dataset("DASRDataset", options)
    assert dataset.dataset.backend == "host"
    assert dataset[0]["lq_path"] == dataset[0]["gt_path"]
    with pytest.raises(ConfigError, match=r"PPSR_DASRDataset.*backend: host"):
        build_dataset("DASRDataset", {**options, "degradation": {"backend": "device"}})


def test_a_metric_gathers_means_of_images_and_of_sequences(rng):
    metric = bridge.PPGAN_METRICS.get("PPSR_PSNR")(crop_border=1)
    images = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    plain = PSNR(crop_border=1)
    a, b = plain(images[0], images[1]), plain(images[2], images[3])
    metric.update([images[0], images[2]], [images[1], images[3]])
    metric.update(images[0], images[1])
    assert metric.accumulate() == pytest.approx((2 * a + b) / 3)
    metric.reset()
    metric.update([images[0], images[2]], [images[1], images[3]], is_seq=True)
    assert metric.results == [pytest.approx((a + b) / 2)]
    metric.reset()
    assert metric.accumulate() == 0.0


def test_the_perceptual_loss_returns_the_pair_that_their_models_unpack(monkeypatch):
    parts = {"style": paddle.to_tensor(2.0)}
    monkeypatch.setattr(PerceptualLoss, "__init__", lambda self: super(PerceptualLoss, self).__init__())
    monkeypatch.setattr(PerceptualLoss, "parts", lambda self, sr, gt: parts)
    percep, style = build_criterion("PerceptualLoss", {})(None, None)
    assert percep is None
    assert float(style) == 2
