"""Compression by encoders: what they keep, what they lose, and where they run."""

import io

import numpy as np
import pytest
import yaml
from PIL import Image

from ppsr.datasets.realesrgan import RealESRGANDataset
from ppsr.degradations.codecs import VIDEO_CODECS, Video, WebP
from ppsr.degradations.second_order import build_steps, draw_operations
from ppsr.errors import ConfigError
from ppsr.imaging.io import write_image
from ppsr.imaging.resize import interpolate
from ppsr.prepare.preview import make_preview

LIST = [
    {"name": "unsharp", "unsharp_weight": [0.2, 1]},
    {"name": "webp", "webp_range": [20, 90], "prob": 0.5},
    {"name": "resize", "relative_to": "lq", "resize_mode_list": ["lanczos"]},
    {"name": "random_order", "groups": [[{"name": "video", "quality_range": [20, 40]}], [{"name": "sinc"}]]},
]


@pytest.fixture
def image(rng):
    """A smooth image with odd sides, of 8 bit."""
    smooth = interpolate(rng.random((6, 7, 3), dtype=np.float32), mode="bilinear", size=(45, 67))
    return (np.round(smooth * 255) / 255).astype(np.float32)


def test_webp_equals_that_of_another_program(image, rng):
    for quality in (10, 75):
        file = io.BytesIO()
        Image.fromarray((image * 255).astype(np.uint8)).save(file, "webp", quality=quality, method=4)
        wanted = np.asarray(Image.open(file), np.float32) / 255
        ours = WebP(quality).apply(image, rng)
        assert np.abs(ours - wanted).max() <= 2 / 255  # the versions of both libraries may differ


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_frames_of_a_video_lose_with_the_number_of_its_quality(image, rng, codec):
    pytest.importorskip("av")
    _, low, high = VIDEO_CODECS[codec]
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    errors = []
    for quality in (low + 1, (low + high) // 2, high):
        ours = Video(codec, quality).apply(image, rng)
        assert ours.shape == image.shape and ours.dtype == np.float32
        np.testing.assert_array_equal(ours, Video(codec, quality).apply(image, rng))
        np.testing.assert_allclose(ours * 255, np.rint(ours * 255), atol=1e-4)
        errors.append(np.abs((ours - image) @ weights).mean())
    assert errors[0] < 0.01 and errors[0] < errors[1] < errors[2]


def test_flat_gray_and_bands_keep_their_values_and_channels(rng):
    pytest.importorskip("av")
    flat = np.full((16, 18, 2), 0.5, np.float32)
    flat[..., 1] = 0.25
    for operation in (WebP(50), Video("libx264", 30)):
        # limited range has 219 levels
        np.testing.assert_allclose(operation.apply(flat, rng), flat, atol=2 / 255)


def test_qualities_are_whole_numbers_of_the_range(rng):
    pytest.importorskip("av")
    steps = build_steps(
        [{"name": "webp", "webp_range": [30, 33]}, {"name": "video", "quality_range": [9, 11]}]
    )
    drawn = [draw_operations(steps, rng, size=(8, 8), scale=1) for _ in range(100)]
    assert {ops[0].quality for ops in drawn} == {30, 31, 32, 33}
    assert {ops[1].quality for ops in drawn} == {9, 10, 11}


def _dataset(folder, **degradation):
    for index, image in enumerate(np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)):
        write_image(folder / f"{index}.png", image)
    sizes = {"scale": 2, "gt_size": 32, "crop_pad_size": 64}
    return RealESRGANDataset(gt_folder=str(folder), **sizes, degradation={"operations": LIST, **degradation})


def test_encoders_run_on_the_host(tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.setattr("paddle.get_device", lambda: "gpu:0")
    dataset = _dataset(tmp_path)
    assert dataset.backend == "host"
    one, two = dataset[3, 1], dataset[3, 1]
    assert one["lq"].shape == (3, 16, 16)
    np.testing.assert_array_equal(one["lq"], two["lq"])
    with pytest.raises(ConfigError, match="Video, WebP need the backend 'host'"):
        _dataset(tmp_path, backend="device")


@pytest.mark.parametrize("mixed", [False, True])
def test_a_preview_shows_every_step(mixed, tmp_path):
    pytest.importorskip("av")
    dataset = _dataset(tmp_path / "hr", backend="host")
    [stages] = dataset.previews(0).values()
    names = [name for name, _ in stages]
    assert names[:2] == ["target", "blur"] and names[2] in ("webp", "skipped")
    assert names[3] == "resize" and sorted(names[4:6]) == ["blur", "video"] and names[6] == "8 bit"
    config = tmp_path / "c.yaml"
    section = {"name": "RealESRGANDataset", "scale": 2, "gt_size": 32, "crop_pad_size": 64}
    section |= {"gt_folder": str(tmp_path / "hr"), "degradation": {"operations": LIST}}
    if mixed:
        pairs = {"name": "SRDataset", "gt_folder": str(tmp_path / "hr"), "lq_folder": str(tmp_path / "hr")}
        parts = [{**pairs, "gt_size": 32}, section]
        section = {"name": "MixedDataset", "scale": 2, "shares": [0.5, 0.5], "datasets": parts}
    config.write_text(
        yaml.safe_dump({"model": {"name": "SRModel"}, "total_iters": 1, "dataset": {"train": section}})
    )
    assert "7 stages of" in make_preview(config, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()
