"""Kinds of images in memory, sizes, self-ensemble, precision."""

import numpy as np
import paddle
import pytest

import ppsr
from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import super_resolve
from ppsr.imaging.resize import matlab_resize
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.transparent import fill_hidden
from ppsr.inference.upscaler import Upscaler
from ppsr.memory import release_memory, resident_memory
from ppsr.weights import write_state
from tests.inference.helpers import Repeat, small_network


def _large(image, scale=2):
    return image.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.smoke
def test_a_network_gives_what_it_gives_alone(rng):
    net = small_network()
    image = rng.random((20, 24, 3), dtype=np.float32)
    lq = paddle.to_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
    expected = np.clip(super_resolve(net, lq).numpy()[0].transpose(1, 2, 0), 0, 1)
    np.testing.assert_allclose(Upscaler(net)(image), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 2), (9, 7, 3), (9, 7, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_keeps_its_kind(dtype, shape, channels, rng):
    image = rng.random(shape, dtype=np.float32)
    if dtype != np.float32:
        image = (image * np.iinfo(dtype).max).astype(dtype)
    if image.ndim == 3 and shape[2] in (2, 4):  # colours under full transparency would change
        image[..., -1] = np.maximum(image[..., -1], 0.1 if dtype == np.float32 else 1)
    sr = Upscaler(Repeat(channels=channels))(image)
    assert sr.dtype == dtype
    np.testing.assert_allclose(sr.astype(np.float64), _large(image).astype(np.float64), rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("kind", [np.asmatrix, np.ma.asarray, np.asfortranarray])
def test_subclasses_and_orders_of_arrays_are_plain_images(kind, rng):
    image = rng.random((9, 7), dtype=np.float32)
    assert np.array_equal(Upscaler(Repeat())(kind(image)), Upscaler(Repeat())(image))


def test_a_network_that_is_trained_further_upscales_without_dropout(rng):
    net = small_network("MSRResNet", upscale=2, dropout={"type": "element", "p": 0.5, "positions": ["last"]})
    upscaler, image = Upscaler(net), rng.random((9, 7, 3), dtype=np.float32)
    expected = upscaler(image)
    net.train()
    assert np.array_equal(upscaler(image), expected)
    assert net.training


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_a_network_of_another_type_than_float32_is_named(dtype):
    with pytest.raises(ConfigError, match=f"parameters of type {dtype}.*set_default_dtype"):
        Upscaler(small_network().to(dtype=dtype))


def test_gray_stays_gray_and_is_the_luma_of_the_network(rng):
    net = small_network()
    image = rng.random((16, 16), dtype=np.float32)
    colours = Upscaler(net)(np.repeat(image[..., None], 3, axis=2))
    sr = Upscaler(net)(image)
    np.testing.assert_allclose(sr, colours @ np.array([0.299, 0.587, 0.114]), atol=1e-6)


def test_a_network_of_255_gets_255(rng):
    backend = Repeat(rgb_range=255.0)
    image = rng.random((8, 8, 3), dtype=np.float32)
    seen = []
    run = backend.run
    backend.run = lambda x: (seen.append(x.max()), run(x))[1]
    np.testing.assert_allclose(Upscaler(backend)(image), _large(image), atol=1e-6)
    assert seen[0] > 200


def test_constant_alpha_stays_exact(rng):
    image = rng.integers(0, 65536, (8, 8, 4)).astype(np.uint16)
    image[..., 3] = 12345
    sr = Upscaler(small_network())(image)
    assert (sr[..., 3] == 12345).all()


def test_hidden_colours_do_not_reach_visible_pixels():
    y, x = np.mgrid[:32, :32]
    visible = (y - 16) ** 2 + (x - 16) ** 2 < 100
    image = np.zeros((32, 32, 4), np.float32)
    image[visible] = [0.8, 0.3, 0.2, 1.0]
    upscaler = Upscaler(small_network())
    results = []
    for hidden in ([0, 0, 0], [1, 1, 1], [0, 1, 0]):
        image[~visible, :3] = hidden
        results.append(upscaler(image))
    shown = results[0][..., 3] > 0
    assert shown.any()
    for other in results[1:]:
        np.testing.assert_array_equal(other[shown], results[0][shown])
    filled = fill_hidden(image)[..., :3][~visible]
    np.testing.assert_array_equal(filled, np.broadcast_to(np.float32([0.8, 0.3, 0.2]), filled.shape))


@pytest.mark.parametrize("outscale", [0.5, 1, 1.7, 2, 3.3, 8])
def test_any_final_size(outscale, rng):
    image = rng.random((31, 45, 3), dtype=np.float32)
    sr = Upscaler(Repeat(), outscale=outscale)(image)
    assert sr.shape == (int(31 * outscale + 0.5), int(45 * outscale + 0.5), 3)


@pytest.mark.parametrize("outscale", [1, 3, 6])
def test_resizing_by_bands_equals_matlab_resizing_of_the_whole(outscale, rng):
    image = rng.random((40, 56, 3), dtype=np.float32)
    sr = Upscaler(Repeat(), tile=16, outscale=outscale)(image)
    expected = np.clip(matlab_resize(_large(image), outscale / 2), 0, 1)
    np.testing.assert_allclose(sr, expected, atol=1e-6)


def test_self_ensemble_is_the_mean_over_flips_and_turns(rng):
    net = small_network()
    image = rng.random((12, 18, 3), dtype=np.float32)
    single, total = Upscaler(net), 0
    for turn in range(4):
        for flip in (False, True):
            view = np.rot90(image[:, ::-1] if flip else image, turn)
            lq = paddle.to_tensor(np.ascontiguousarray(view.transpose(2, 0, 1)[None]))
            sr = np.rot90(super_resolve(net, lq).numpy()[0].transpose(1, 2, 0), -turn)
            total = total + (sr[:, ::-1] if flip else sr)
    expected = np.clip(total / 8, 0, 1)
    averaged = Upscaler(net, self_ensemble=True)(image)
    np.testing.assert_allclose(averaged, expected, atol=1e-5)
    assert np.abs(averaged - single(image)).max() > 1e-3
    flipped = Upscaler(net, self_ensemble=True)(np.ascontiguousarray(image[::-1]))
    np.testing.assert_allclose(flipped[::-1], averaged, atol=1e-5)


class Overflows(Repeat):
    """Half precision that overflows on bright images."""

    def __init__(self):
        super().__init__()
        self.again = 0

    def run(self, x):
        sr = super().run(x)
        return np.where(x.max() > 0.9, np.float32("nan"), sr)

    def run_float32(self, x):
        self.again += 1
        return super().run(x)


def test_a_tile_that_overflows_is_computed_again_in_full_precision(rng, caplog):
    image = rng.random((32, 32, 3), dtype=np.float32) * np.float32(0.8)
    image[20:, 20:] += np.float32(0.2)
    backend = Overflows()
    sr = Upscaler(backend, tile=16)(image)
    np.testing.assert_array_equal(sr, _large(image))
    assert backend.again == 1
    assert "full precision" in caplog.text


def test_broken_weights_are_an_error_and_not_a_black_image(rng):
    net = small_network()
    parameter = net.parameters()[0]
    parameter.set_value(np.full(list(parameter.shape), np.nan, np.float32))
    with pytest.raises(DataError, match="not finite"):
        Upscaler(net)(rng.random((8, 8, 3), dtype=np.float32))


def test_memory_decides_about_tiles(rng):
    release_memory()
    if resident_memory() is None:
        pytest.skip("the system does not tell sizes")
    net = small_network()
    image = rng.random((96, 128, 3), dtype=np.float32)
    upscaler = Upscaler(net, max_memory=resident_memory() + 400_000_000)
    upscaler._memory._per_pixel = 200_000.0
    plan = upscaler.plan(*image.shape)
    assert 0 < plan.tiles.size < 96
    assert plan.count > 1
    assert plan.memory <= 400_000_000
    assert "predicted" in str(plan)
    np.testing.assert_allclose(upscaler(image), Upscaler(net, tile=0)(image), atol=1e-5)


def test_a_limit_of_memory_holds_for_tiles_that_are_given():
    upscaler = Upscaler(small_network(), tile=512, max_memory=resident_memory() + 400_000_000)
    upscaler._memory._per_pixel = 200_000.0
    fitting = upscaler.plan(96, 128).tiles.size
    assert 16 < fitting < 96
    upscaler.tile = 16
    assert upscaler.plan(96, 128).tiles.size == 16
    upscaler.tile = 0
    with pytest.raises(DataError, match=r"the whole image of 128 x 96 needs [0-9]+ MB and"):
        upscaler.plan(96, 128)


def test_memory_is_given_back_only_where_a_limit_is_near(monkeypatch):
    calls = []
    for name in ("return_memory", "keep_memory"):
        monkeypatch.setattr(f"ppsr.inference.tile_memory.{name}", lambda name=name: calls.append(name))
    upscaler = Upscaler(Repeat(), max_memory=resident_memory() * 2 + 2**30)
    upscaler._memory._per_pixel = 1.0
    upscaler.plan(96, 128)
    assert calls == ["return_memory", "keep_memory"]
    upscaler._memory._per_pixel = 1e6
    upscaler.plan(96, 128)
    assert calls[2:] == ["return_memory"]


def test_memory_is_measured_on_single_passes():
    backend = Repeat()
    upscaler = Upscaler(backend, self_ensemble=True)
    assert upscaler._memory.per_pixel(self_ensemble=True) > 3 * 3 * 4 * 2**2
    assert len(backend.seen) == 3
    assert upscaler.self_ensemble


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile_mode": "blended"}, "did you mean 'blend'"),
        ({"outscale": 0}, "outscale"),
        ({"outscale": 1e-9}, "outscale must be a number from 1/16 to 64"),
        ({"outscale": "2"}, "got .2."),
        ({"max_memory": "2GB"}, "bytes, got .2GB."),
        ({"max_memory": 10**9, "tile_mode": "published"}, "no limit of memory"),
        ({"tile": -1}, "tile must be a whole number of LR pixels, 0 or more, got -1"),
        ({"tile": 2.5}, "tile must be a whole number"),
        ({"tile": True}, "tile must be a whole number"),
        ({"overlap": -2}, "overlap must be a whole number"),
        ({"max_memory": -5}, "positive number of bytes, got -5"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Upscaler(Repeat(), **arguments)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 4, 3)),
        np.zeros((4, 4, 5)),
        np.zeros((4, 4, 3), np.int32),
        np.full((4, 4), np.nan),
        "in.png",
    ],
)
def test_arrays_that_are_no_images_are_refused(image):
    with pytest.raises(DataError):
        Upscaler(Repeat())(image)


@pytest.mark.skipif(paddle.device.is_compiled_with_cuda(), reason="for a Paddle without GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="there is no gpu:1 that this Paddle can use"):
        Upscaler(small_network(), device="gpu:1")
    with pytest.raises(ConfigError, match="there is no gpu that this Paddle can use"):
        Upscaler(small_network(), options=BackendOptions(device="gpu"))


@pytest.mark.parametrize(("channels", "scale", "shape"), [(3, 2, "1, 3, 16, 18"), (1, 1, "1, 3, 8, 9")])
def test_a_network_that_gives_another_shape_is_named(channels, scale, shape, rng):
    net = paddle.nn.Conv2D(3, channels, 3, padding=1)
    net.scale = scale
    with pytest.raises(DataError, match=rf"\(1, 3, 8, 9\); at x{scale} it must be \({shape}\)"):
        Upscaler(net)(rng.random((8, 9, 3), dtype=np.float32))


@pytest.mark.parametrize("network", [None, {"body": 1}, b"net.pth"])
def test_what_is_no_network_is_named(network):
    with pytest.raises(ConfigError, match=f"the path of weights .* got {type(network).__name__}"):
        Upscaler(network)


@pytest.mark.parametrize("files", [[], [None]])
def test_a_list_without_paths_is_not_the_default(files):
    with pytest.raises(ConfigError, match="a list of weights must hold paths"):
        Upscaler(files)


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("mode", ["published", "published-inference", "published-onnx"])
def test_published_modes_cut_in_the_range_of_the_network_and_say_so(mode, tile, rng):
    backend = Repeat(multiple=8, rgb_range=255.0)
    upscaler = Upscaler(backend, tile=tile, overlap=8, tile_mode=mode)
    image = rng.integers(0, 256, (40, 41, 4), dtype=np.uint8) | 1
    np.testing.assert_array_equal(upscaler(image), _large(image))
    assert (len(backend.seen) > 2) == bool(tile)
    assert upscaler.backend.note == (f"{mode}, tiles of 16 with overlap 8" if tile else mode)


@pytest.mark.parametrize("mode", ["published", "published-inference"])
def test_published_modes_take_any_tile_and_overlap_that_hold_the_image(mode, rng):
    image = rng.integers(0, 256, (31, 31, 3), dtype=np.uint8)
    upscaler = Upscaler(Repeat(multiple=8), tile=100, overlap=33, tile_mode=mode)
    np.testing.assert_array_equal(upscaler(image), _large(image))


def test_published_modes_refuse_what_they_cannot_do(rng):
    upscaler = Upscaler(Repeat(multiple=8), tile=12, overlap=8, tile_mode="published")
    with pytest.raises(ConfigError, match="multiples of the window"):
        upscaler(rng.random((32, 48, 3), dtype=np.float32))
    with pytest.raises(DataError, match="tile mode blend"):
        Upscaler(Repeat(multiple=8), tile=8, tile_mode="published")(rng.random((3, 48, 3), dtype=np.float32))


def _save(net, path):
    write_state(path, {k: v.numpy() for k, v in net.state_dict().items()}, layout="paddle")


def test_weights_are_all_that_an_upscaler_needs(tmp_path, rng, monkeypatch):
    net = small_network()
    image = rng.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    expected = Upscaler(net)(image)
    _save(net, tmp_path / "net.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    _save(net, run / "best_weight.pdparams")
    monkeypatch.chdir(tmp_path)
    for source in ("net.safetensors", tmp_path / "net.safetensors", run, [tmp_path / "net.safetensors"]):
        np.testing.assert_array_equal(ppsr.Upscaler(source)(image), expected)


@pytest.mark.parametrize("channels", [4, 6, 13])
def test_bands_of_a_network_with_as_many_are_never_mixed(channels, rng):
    backend = Repeat(channels=channels, radius=0)
    image = rng.integers(0, 65536, (20, 24, channels), dtype=np.uint16)
    sr = Upscaler(backend, tile=16)(image)
    np.testing.assert_array_equal(sr, image.repeat(2, 0).repeat(2, 1))
    with pytest.raises(DataError, match=f"takes images H x W x {channels}, got an array of shape"):
        Upscaler(backend)(image[..., :3])
