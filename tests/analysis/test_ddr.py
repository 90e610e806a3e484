"""Deep degradation representation."""

import zlib

import numpy as np
import paddle
import pytest

from ppsr.analysis.ddr import calinski_harabasz, degraded_patches, embed, layer_features, principal_components
from ppsr.degradations.reflash_benchmark import degrade
from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import super_resolve
from ppsr.imaging.io import read_image, to_uint8, write_image
from ppsr.registry import build_generator


@pytest.fixture
def images(tmp_path, rng):
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path, side in zip(paths, (40, 33, 12), strict=True):
        write_image(path, rng.integers(0, 256, (side, side + 3, 3), dtype=np.uint8))
    return paths


def test_groups_that_cannot_be_compared_are_errors(rng):
    for labels in (np.zeros(5), np.arange(5)):
        with pytest.raises(DataError, match="no dispersion"):
            calinski_harabasz(rng.normal(size=(5, 2)), labels)
    with pytest.raises(DataError, match="two samples"):
        principal_components(np.ones((1, 4)), 2)
    with pytest.raises(DataError, match="not finite"):
        principal_components(np.full((3, 4), np.nan), 2)


def test_patches_are_the_same_windows_degraded_in_every_way(images, rng):
    names = ("bicubic", "bicubic_noise20", "bicubic_jepg50")
    patches = degraded_patches(images, names, scale=4, count=6, side=8, seed=3)
    assert patches.lq.shape == (18, 3, 8, 8)
    np.testing.assert_array_equal(patches.labels, np.repeat([0, 1, 2], 6))
    clean, noisy, jpeg = patches.lq.reshape(3, 6, 3, 8, 8)
    for k in range(6):
        image = np.rint(clean[k].transpose(1, 2, 0) * 255).astype(np.uint8)
        expected = degrade(image, "bicubic_jepg50", scale=1)  # JPEG of the finished LR patch
        np.testing.assert_allclose(jpeg[k].transpose(1, 2, 0) * 255, expected, atol=1e-3)
        assert 0.03 < (noisy[k] - clean[k]).std() < 0.1
    again = degraded_patches(images, names[1:2], scale=4, count=2, side=8, seed=3)
    np.testing.assert_array_equal(again.lq, noisy[:2])
    other = degraded_patches(images, names[:1], scale=4, count=2, side=8, seed=4)
    assert not np.array_equal(other.lq, clean[:2])


def test_patches_need_large_images_and_degradations(images):
    with pytest.raises(DataError, match="at least 160 x 160, which patches of side 40 need at x4"):
        degraded_patches(images, scale=4, side=40)
    with pytest.raises(ConfigError, match="did you mean"):
        degraded_patches(images, ("bicubik",), scale=4, side=8)
    with pytest.raises(ConfigError, match="at least one"):
        degraded_patches(images, (), scale=4, side=8)


def test_an_image_that_cannot_be_read_is_left_out_and_named(images, tmp_path, caplog):
    (tmp_path / "bad.png").write_bytes(b"no image")
    patches = degraded_patches([tmp_path / "bad.png", *images], scale=4, count=2, side=8)
    np.testing.assert_array_equal(patches.lq, degraded_patches(images, scale=4, count=2, side=8).lq)
    assert "bad.png" in caplog.text


@pytest.mark.parametrize("name", ["bicubic", "blur2_bicubic_noise20", "bicubic_jepg50"])
def test_gray_patches_are_gray_before_they_are_degraded(images, name):
    patches = degraded_patches(images[1:2], (name,), scale=4, count=1, side=8, channels=1, seed=3)
    gray = to_uint8(read_image(images[1], gray=True))[..., 0]
    place = np.random.default_rng([3, 0])
    top, left = (int(place.integers(0, s - 32 + 1)) for s in gray.shape)
    noise = np.random.default_rng([3, 0, zlib.crc32(name.encode())])
    window = np.ascontiguousarray(gray[top : top + 32, left : left + 32])
    expected = degrade(window, name, scale=4, rng=noise)
    assert patches.lq.shape == (1, 1, 8, 8)
    np.testing.assert_allclose(
        patches.lq[0, 0] * 255, expected if expected.ndim == 2 else expected[..., 0], atol=1e-4
    )


def test_impossible_patches_and_embeddings_are_errors(images, rng):
    with pytest.raises(ConfigError, match="each degradation once"):
        degraded_patches(images, ("bicubic", "bicubic", "blur2_bicubic"), scale=4, side=8)
    with pytest.raises(ConfigError, match="got 8 and -1"):
        degraded_patches(images, scale=4, side=8, seed=-1)
    with pytest.raises(ConfigError, match="got 0 and 0"):
        degraded_patches(images, scale=4, side=0)
    samples = rng.normal(size=(8, 4))
    for perplexity in (0, -3, np.nan, np.inf):
        with pytest.raises(ConfigError, match=f"perplexity must be a positive number, got {perplexity}"):
            embed(samples, perplexity=perplexity)
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match=f"got {seed}"):
            embed(samples, seed=seed)


def test_features_are_those_of_the_layer_one_row_per_patch(rng):
    net = build_generator("MSRResNet", num_feat=4, num_block=1, upscale=2)
    net.eval()
    lq = rng.random((5, 3, 6, 6), dtype=np.float32)
    features = layer_features(net, lq, "feat_last", memory_mib=1)
    seen = []
    hook = net.feat_last.register_forward_post_hook(lambda _l, _i, y: seen.append(y.numpy()))
    super_resolve(net, paddle.to_tensor(lq))
    hook.remove()
    np.testing.assert_allclose(features, seen[0].reshape(5, -1), atol=1e-6)
    with pytest.raises(ConfigError, match="did you mean"):
        layer_features(net, lq, "feat_lst")


def test_embedding_separates_groups_and_follows_the_seed(rng):
    features = rng.normal(size=(40, 30)).astype(np.float32)
    features[20:] += 8
    labels = np.repeat([0, 1], 20)
    points = embed(features, perplexity=10)
    assert points.shape == (40, 2)
    np.testing.assert_array_equal(points, embed(features, perplexity=10))
    mixed = embed(rng.normal(size=(40, 30)).astype(np.float32), perplexity=10)
    assert calinski_harabasz(points, labels) > 10 * calinski_harabasz(mixed, labels)
    with pytest.raises(DataError, match="five samples"):
        embed(features[:4])
