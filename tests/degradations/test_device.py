"""Operations on batches against those of the host, one image at a time."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsr.compat.paddle import seeded
from ppsr.degradations import blur, device
from ppsr.degradations.batches import apply_to_batch
from ppsr.degradations.jpeg import jpeg
from ppsr.degradations.kernels import unit_pulse
from ppsr.degradations.noise import poisson_rate, round_to_8bit
from ppsr.degradations.operations import Blur, Jpeg, Noise, Resize, Skipped, apply_operations
from ppsr.degradations.second_order import SECOND_ORDER, build_steps, draw_operations
from ppsr.errors import DataError
from ppsr.imaging.resize import RESIZE_MODES, interpolate

STEPS = build_steps(SECOND_ORDER)


def _images(rng, shape=(3, 40, 52, 3)):
    """Smooth images with some grain."""
    coarse = rng.random((shape[0], 5, 5, shape[3]), dtype=np.float32)
    fine = np.stack([interpolate(one, mode="bilinear", size=shape[1:3]) for one in coarse])
    return np.clip(fine + 0.02 * rng.standard_normal(shape, dtype=np.float32), 0, 1)


def _tensor(images):
    return paddle.to_tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _arrays(x):
    return x.numpy().transpose(0, 2, 3, 1)


@pytest.mark.smoke
def test_every_image_is_filtered_with_its_own_kernel(rng):
    images = _images(rng)
    kernels = [STEPS[0].draw_kernel(rng).values for _ in range(2)] + [unit_pulse().values]
    ours = _arrays(device.filter2d(_tensor(images), np.stack(kernels)))
    host = [blur.filter2d(one, kernel) for one, kernel in zip(images, kernels, strict=True)]
    assert np.abs(ours - np.stack(host)).max() < 1e-5
    assert np.abs(ours[2] - images[2]).max() == 0


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(RESIZE_MODES), st.integers(4, 40), st.integers(4, 40), st.floats(0.25, 2.5), st.booleans()
)
def test_resizing_equals_that_of_the_host(mode, height, width, factor, by_size):
    image = np.random.default_rng(height).random((1, height, width, 3), dtype=np.float32)
    choice = {"size": (int(height * factor), int(width * factor))} if by_size else {"scale": factor}
    ours = _arrays(device.interpolate(_tensor(image), mode=mode, **choice))[0]
    host = interpolate(image[0], mode=mode, **choice)
    assert ours.shape == host.shape
    # the sampling positions are float32 in Paddle: an error of 40 * 2 ** -23, times a slope of up to 2
    assert np.abs(ours - host).max() < 2e-5


@pytest.mark.smoke
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_has_a_quality_per_image(rng, channels):
    images, quality = _images(rng, (3, 37, 50, channels)), np.array([31.0, 60.5, 94.9])
    ours = _arrays(device.jpeg(_tensor(images), quality))
    host = np.stack([jpeg(one, float(q)) for one, q in zip(images, quality, strict=True)])
    # a coefficient on the edge of rounding may fall to either side
    assert (np.abs(ours - host) < 1e-4).mean() > 0.99
    assert np.abs(ours - host).mean() < 1e-4


def test_images_of_a_batch_differ_in_subsampling_and_in_what_is_skipped(rng):
    images = _images(rng, (5, 34, 50, 3))
    operations = [Jpeg(60.0, name) for name in ("4:4:4", "4:2:0", "4:2:2", "4:4:4")] + [Skipped()]
    ours = _arrays(apply_to_batch(_tensor(images), [[operation] for operation in operations]))
    for one, operation, result in zip(images, operations, ours, strict=True):
        error = np.abs(result - operation.apply(one, rng))
        assert (error < 1e-4).mean() > 0.99  # a coefficient may be rounded to either side
    np.testing.assert_array_equal(ours[4], images[4])


def test_a_whole_list_of_operations_equals_that_of_the_host(rng):
    images = _images(rng, (3, 96, 80, 3))
    for common in range(4):
        batch = [
            draw_operations(
                STEPS,
                np.random.default_rng(100 + i),
                size=(96, 80),
                scale=4,
                shared_rng=np.random.default_rng(common),
            )
            for i in range(3)
        ]
        batch = [[op for op in own if not isinstance(op, Noise)] for own in batch]
        ours = _arrays(device.round_to_8bit(apply_to_batch(_tensor(images), batch)))
        host = [
            round_to_8bit(apply_operations(one, own, rng)) for one, own in zip(images, batch, strict=True)
        ]
        error = np.abs(ours - np.stack(host))
        assert (error <= 1 / 255 + 1e-6).mean() > 0.99
        assert error.mean() < 1e-3


def test_gaussian_noise_has_its_deviation_and_gray_noise_one_pattern():
    flat = paddle.full([2, 3, 200, 200], 0.5)
    with seeded(1):
        drawn = device.gaussian_noise(
            flat, sigma=np.array([20.0, 5.0]), gray=np.array([True, False]), draws=device.TensorDraws()
        ).numpy()
    # the deviation of 40,000 numbers is known to 0.4 %
    assert drawn[0].std() * 255 == pytest.approx(20, rel=0.02)
    assert drawn[1].std() * 255 == pytest.approx(5, rel=0.02)
    assert np.abs(drawn[0] - drawn[0, :1]).max() == 0
    assert abs(np.corrcoef(drawn[1, 0].ravel(), drawn[1, 1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_poisson_noise_has_the_rates_of_the_host_and_their_variance(rng, channels):
    images = _images(rng, (3, 40, 52, channels))
    gray = np.array([True, False, True])
    rate, photons = device.poisson_rate(_tensor(images), gray=gray)
    for i, one in enumerate(images):
        expected, values = poisson_rate(one, gray=bool(gray[i]))
        assert photons[i].item() == values
        assert np.abs(_arrays(rate)[i] - expected).max() <= 1e-5 * values
    flat = paddle.full([1, 3, 200, 200], 128 / 255)  # one value: one photon where all is white
    with seeded(2):
        drawn = device.poisson_noise(
            flat, scale=np.array([0.5]), gray=np.array([False]), draws=device.TensorDraws()
        )
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.var()) == pytest.approx(0.25 * 128 / 255, rel=0.03)


def test_both_kinds_of_noise_find_their_images_in_one_batch():
    flat = paddle.concat([paddle.full([1, 3, 8, 8], value) for value in (0.0, 0.25, 0.5, 0.75)])
    kinds = ["poisson", "gaussian", "poisson", "gaussian"]
    operations = [[Noise(kind, 0.0, False)] for kind in kinds]
    assert np.abs(apply_to_batch(flat, operations).numpy() - flat.numpy()).max() == 0
    loud = [[Noise(kind, 30.0 if kind == "gaussian" else 0.0, False)] for kind in kinds]
    moved = np.abs(apply_to_batch(flat, loud).numpy() - flat.numpy()).max(axis=(1, 2, 3)) > 0
    assert moved.tolist() == [False, True, False, True]


@pytest.mark.smoke
def test_a_seed_repeats_the_noise_and_leaves_other_draws_alone():
    operations = [[Noise("gaussian", 9.0, False)], [Noise("poisson", 1.0, True)]]
    x = paddle.full([2, 3, 8, 8], 0.4)

    def noisy(seed):
        with seeded(seed):
            return apply_to_batch(x, operations).numpy()

    paddle.seed(3)
    undisturbed = [paddle.rand([4]).numpy() for _ in range(2)]
    paddle.seed(3)
    first = paddle.rand([4]).numpy()
    one, same, other = noisy(5), noisy(5), noisy(6)
    np.testing.assert_array_equal([first, paddle.rand([4]).numpy()], undisturbed)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([[Resize("area", scale=0.5)], [Resize("area", scale=0.6)]], "resized alike"),
        ([[Jpeg(50)], [Blur(unit_pulse().values)]], r"one kind at a time, got \['Blur', 'Jpeg'\]"),
        ([[Jpeg(50)], []], "all of one length"),
        ([[Jpeg(50)]], "2 images need as many"),
    ],
)
def test_lists_that_do_not_go_together_are_refused(operations, message):
    with pytest.raises(DataError, match=message):
        apply_to_batch(paddle.full([2, 3, 32, 32], 0.5), operations)


def test_small_images_and_even_kernels_are_refused():
    with pytest.raises(DataError, match="sides above 10"):
        device.filter2d(paddle.zeros([1, 3, 10, 40]), np.ones((1, 21, 21)))
    with pytest.raises(DataError, match="odd side"):
        device.filter2d(paddle.zeros([1, 3, 40, 40]), np.ones((1, 4, 4)))


def test_a_batch_makes_no_copy_that_waits_for_a_gpu(monkeypatch, like_a_gpu):
    kernels = np.random.default_rng(0).random((2, 3, 3))
    operations = [
        [Blur(kernels[0]), Resize("area", scale=0.5), Noise("gaussian", 9.0, True), Jpeg(50)],
        [Blur(kernels[1]), Resize("area", scale=0.5), Noise("poisson", 1.0, False), Jpeg(90)],
    ]
    x = paddle.full([2, 3, 64, 64], 0.5)
    apply_to_batch(x, operations)  # makes the constants
    monkeypatch.setattr(paddle, "to_tensor", None)
    assert apply_to_batch(x, operations).shape == [2, 3, 32, 32]
