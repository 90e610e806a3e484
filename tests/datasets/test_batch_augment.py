"""Mixed pairs against their formulas."""

import numpy as np
import paddle
import pytest
import yaml

from ppsr.config.schema import BatchAugment
from ppsr.datasets import batch_augment
from ppsr.datasets.batch_augment import augment_batches
from ppsr.errors import ConfigError
from ppsr.imaging.resize import matlab_resize
from tests.engine.helpers import fingerprint, make_trainer, write_config

KINDS = ("mixup", "cutmix", "resizemix", "cutblur")
SEEDS = range(8)


def batch(count=3, scale=2, height=12, width=16):
    """Pairs whose LR is every `scale`-th sample of HR, with the image between them for a scale of 4."""
    gt = np.random.default_rng(5).random((count, 3, height * scale, width * scale), np.float32)
    images = {"gt": gt, "lq": gt[:, :, ::scale, ::scale]}
    if scale == 4:
        images["lq_x2"] = gt[:, :, ::2, ::2]
    return {name: paddle.to_tensor(np.ascontiguousarray(image)) for name, image in images.items()}


def augmented(kind, seed, **options):
    before = batch(**options)
    after = dict(before)
    augment_batches([after], {kind: 1.0}, [seed])
    return ({name: image.numpy() for name, image in one.items()} for one in (before, after))


def boxes(before, after):
    """Top, left, bottom and right of what differs in any image of the batch."""
    rows, columns = (np.flatnonzero((before != after).any(axis=axes)) for axes in ((0, 1, 3), (0, 1, 2)))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_mixup_is_the_same_mean_of_two_pairs_in_all_their_images(seed):
    before, after = augmented("mixup", seed, scale=4)
    shifted = {n: np.roll(before["gt"], n, axis=0) for n in (1, 2)}
    weights = {}
    for n, other in shifted.items():
        difference = (before["gt"] - other).ravel()
        weights[n] = 1 + ((after["gt"] - before["gt"]).ravel() @ difference) / (difference @ difference)
    means = {n: before["gt"] * weights[n] + shifted[n] * (1 - weights[n]) for n in shifted}
    [n] = [n for n, mean in means.items() if np.allclose(after["gt"], mean, atol=1e-6)]
    assert 0.4 <= weights[n] <= 0.6
    for name, image in before.items():
        expected = image * weights[n] + np.roll(image, n, axis=0) * (1 - weights[n])
        np.testing.assert_allclose(after[name], expected, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_cutmix_takes_the_same_box_of_another_pair(seed):
    before, after = augmented("cutmix", seed, scale=4)
    top, left, bottom, right = boxes(before["lq"], after["lq"])
    for name, image in before.items():
        factor = image.shape[2] // 12
        rows, columns = slice(top * factor, bottom * factor), slice(left * factor, right * factor)
        candidates = []
        for shift in (1, 2):
            expected = image.copy()
            expected[:, :, rows, columns] = np.roll(image, shift, axis=0)[:, :, rows, columns]
            candidates.append(np.array_equal(after[name], expected))
        assert sum(candidates) == 1
        np.testing.assert_array_equal(after[name][:, :, ::factor, ::factor], after["lq"])


@pytest.mark.parametrize("seed", SEEDS)
def test_resizemix_shrinks_another_pair_into_a_box(seed):
    before, after = augmented("resizemix", seed, height=16, width=16)
    top, left, bottom, right = boxes(before["lq"], after["lq"])
    scale = 2
    outside = np.ones(before["gt"].shape[2:], bool)
    outside[top * scale : bottom * scale, left * scale : right * scale] = False
    np.testing.assert_array_equal(after["gt"][:, :, outside], before["gt"][:, :, outside])
    patch = after["gt"][:, :, top * scale : bottom * scale, left * scale : right * scale]
    # a bicubic resize keeps the mean of each image up to its borders
    partners = [np.roll(before["gt"].mean(axis=(2, 3)), shift, axis=0) for shift in (1, 2)]
    errors = [np.abs(patch.mean(axis=(2, 3)) - partner).mean() for partner in partners]
    assert min(errors) < 0.02
    if bottom - top == right - left:  # not clipped: one factor for both sides
        small = [
            matlab_resize(np.roll(before["gt"], shift, axis=0)[0].transpose(1, 2, 0), patch.shape[2] / 32)
            for shift in (1, 2)
        ]
        assert min(np.abs(one.clip(0, 1).transpose(2, 0, 1) - patch[0]).max() for one in small) < 1e-5


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_cutblur_shows_the_shrunk_target_in_a_box_of_lr(scale):
    for seed in SEEDS:
        before, after = augmented("cutblur", seed, scale=scale, count=1)
        np.testing.assert_array_equal(after["gt"], before["gt"])
        sharp = matlab_resize(before["gt"][0].transpose(1, 2, 0), 1 / scale).clip(0, 1).transpose(2, 0, 1)
        if scale == 1:  # LR is HR already
            np.testing.assert_allclose(after["lq"], before["lq"], atol=1e-6)
            continue
        top, left, bottom, right = boxes(before["lq"], after["lq"])
        expected = before["lq"].copy()
        expected[0, :, top:bottom, left:right] = sharp[:, top:bottom, left:right]
        np.testing.assert_allclose(after["lq"], expected, atol=1e-5)


def test_each_kind_has_its_share_and_the_rest_stays_as_it_is(monkeypatch):
    counts = dict.fromkeys(KINDS, 0)

    def count(name):
        def run(images, rng):
            counts[name] += 1
            return images

        return run

    monkeypatch.setattr(batch_augment, "_AUGMENTATIONS", {name: count(name) for name in KINDS})
    shares = {"mixup": 0.1, "cutmix": 0.2, "cutblur": 0.4}
    augment_batches([batch()] * 4000, shares, [0])
    for name in KINDS:  # a standard deviation is at most 0.008
        assert counts[name] / 4000 == pytest.approx(shares.get(name, 0), abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_depend_on_the_seed_alone(kind):
    one, two, other = (batch() for _ in range(3))
    for images, seed in ((one, [1, 7]), (two, [1, 7]), (other, [1, 8])):
        augment_batches([images], {kind: 1.0}, seed)
    np.testing.assert_array_equal(one["lq"].numpy(), two["lq"].numpy())
    assert not np.array_equal(one["lq"].numpy(), other["lq"].numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_does_not_wait_for_the_batch(kind, no_waiting):
    augment_batches([batch()], {kind: 1.0}, [3])


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ConfigError, match=r"step.batch_augment.mixup needs a dataset.train.batch_size of 2"):
        augment_batches([batch(count=1)], {"mixup": 0.01}, [0])
    with pytest.raises(ConfigError, match="'degradation_params' of the batch cannot be mixed"):
        augment_batches([{**batch(), "degradation_params": paddle.zeros([3, 33])}], {"mixup": 1.0}, [0])
    with pytest.raises(ValueError, match=r"sum to 1\.1, more than 1"):
        BatchAugment(mixup=0.5, cutblur=0.6)


def test_two_and_two_augmented_steps_equal_four(tmp_path):
    model = {"name": "SRModel", "generator": {"name": "ESPCN", "scale": 2, "num_channels": 3}}
    changes = {
        "model": {**model, "pixel_criterion": {"name": "L1Loss"}},
        "step": {"batch_augment": dict.fromkeys(KINDS, 0.25), "accumulate": 2},
        "optimizer": {"name": "Adam", "net_names": ["generator"]},
        "total_iters": 4,
    }
    data = {"name": "GTDataset", "degradation": "matlab_bicubic", "scale": 2, "gt_size": 32, "batch_size": 2}
    path = write_config(tmp_path, **changes)
    config = yaml.safe_load(path.read_text())
    config["dataset"]["train"] = {**data, "gt_folder": config["dataset"]["train"]["gt_folder"]}
    path.write_text(yaml.safe_dump(config))
    assert make_trainer(path, tmp_path / "straight").train() == 0
    assert make_trainer(path, tmp_path / "plain", ["step.batch_augment=null"]).train() == 0
    assert make_trainer(path, tmp_path / "split", ["total_iters=2"]).train() == 0
    rest = make_trainer(path, tmp_path / "split")
    assert rest.resume() and rest.state.step == 2
    assert rest.train() == 0
    assert fingerprint(tmp_path / "split") == fingerprint(tmp_path / "straight")
    assert fingerprint(tmp_path / "split") != fingerprint(tmp_path / "plain")
