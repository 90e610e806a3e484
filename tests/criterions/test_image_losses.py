"""Losses of frequencies, structure, gradients and colours against their formulas in NumPy and SciPy."""

import numpy as np
import paddle
import pytest
from scipy.ndimage import correlate1d
from scipy.special import huber
from skimage.metrics import structural_similarity

from ppsr.criterions.artifact import ArtifactLoss, artifact_map, local_variance
from ppsr.criterions.color import ColorLoss, to_lab, to_oklab
from ppsr.criterions.frequency import FocalFrequencyLoss
from ppsr.criterions.pixel import CharbonnierLoss, GradientLoss, HuberLoss, L1Loss
from ppsr.criterions.ssim import MSSSIMLoss
from ppsr.errors import ConfigError, DataError

ALL = [
    HuberLoss(delta=0.1),
    GradientLoss(),
    GradientLoss(alpha=2.0, signed=True),
    FocalFrequencyLoss(),
    FocalFrequencyLoss(alpha=0.5, log_matrix=True, batch_matrix=True, ave_spectrum=True),
    MSSSIMLoss(scales=1),
    MSSSIMLoss(scales=2),
    ColorLoss(),
    ColorLoss(space="lab", chroma=True),
]


def pair(rng, *shape):
    """An image and a disturbed copy, float64 in [0, 1]."""
    gt = rng.random(shape)
    return np.clip(gt + rng.normal(0, 0.1, shape), 0.01, 1), gt


def value(loss, sr, gt) -> float:
    return float(loss(paddle.to_tensor(sr), paddle.to_tensor(gt)))


def test_huber_is_scipys(rng):
    sr, gt = pair(rng, 2, 3, 8, 9)
    expected = huber(0.07, sr - gt).mean() * 2
    assert value(HuberLoss(delta=0.07, loss_weight=2), sr, gt) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("alpha", "signed"), [(1.0, False), (2.0, False), (1.0, True)])
def test_gradients_are_differences_of_neighbours(rng, alpha, signed):
    sr, gt = pair(rng, 2, 3, 8, 9)
    expected = 0.0
    for axis in (2, 3):
        ours, theirs = np.diff(sr, axis=axis), np.diff(gt, axis=axis)
        error = np.abs(ours - theirs) if signed else np.abs(np.abs(ours) - np.abs(theirs))
        expected += (error**alpha).mean()
    assert value(GradientLoss(alpha=alpha, signed=signed), sr, gt) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 2.0, "log_matrix": True},
        {"alpha": 0.5, "batch_matrix": True},
        {"patch_factor": 2},
        {"ave_spectrum": True},
    ],
)
def test_frequencies_are_weighed_by_how_wrong_they_are(rng, options):
    sr, gt = pair(rng, 2, 3, 8, 12)
    p = options.get("patch_factor", 1)

    def spectra(images):
        rows = [np.split(half, p, axis=3) for half in np.split(images, p, axis=2)]
        patches = np.stack([patch for row in rows for patch in row], axis=1)
        freq = np.fft.fft2(patches, norm="ortho")
        return freq.mean(0, keepdims=True) if options.get("ave_spectrum") else freq

    distance = np.abs(spectra(sr) - spectra(gt))
    weight = distance ** options.get("alpha", 1.0)
    if options.get("log_matrix"):
        weight = np.log(weight + 1)
    weight /= weight.max() if options.get("batch_matrix") else weight.max(axis=(-2, -1), keepdims=True)
    assert value(FocalFrequencyLoss(**options), sr, gt) == pytest.approx(
        (weight * distance**2).mean(), rel=1e-6
    )


def test_one_scale_is_the_ssim_of_scikit_image(rng):
    sr, gt = pair(rng, 1, 1, 24, 31)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, full = structural_similarity(sr[0, 0], gt[0, 0], full=True, **options)
    # the window is float32
    assert value(MSSSIMLoss(scales=1), sr, gt) == pytest.approx(1 - full[5:-5, 5:-5].mean(), rel=1e-5)


@pytest.mark.parametrize("scales", [2, 5])
def test_several_scales_follow_the_definition(rng, scales):
    side = 11 * 2 ** (scales - 1) + 2
    sr, gt = pair(rng, 2, 3, side, side + 5)
    powers = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    powers /= powers.sum()
    window = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window /= window.sum()

    def blur(x):
        return correlate1d(correlate1d(x, window, axis=2), window, axis=3)[:, :, 5:-5, 5:-5]

    def halved(x):
        h, w = (side // 2 * 2 for side in x.shape[2:])
        return x[:, :, :h, :w].reshape(2, 3, h // 2, 2, w // 2, 2).mean(axis=(3, 5))

    product, x, y = np.ones((2, 3)), sr, gt
    for scale in range(scales):
        mx, my = blur(x), blur(y)
        vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        term = (2 * cov + 9e-4) / (vx + vy + 9e-4)
        if scale == scales - 1:
            term = term * (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
        product *= np.maximum(term.mean(axis=(2, 3)), 0) ** powers[scale]
        x, y = halved(x), halved(y)
    assert value(MSSSIMLoss(scales=scales), sr, gt) == pytest.approx(1 - product.mean(), rel=1e-4)


def test_lab_follows_from_the_primaries_of_srgb(rng):
    """The matrix from chromaticities alone, then the CIE's formula."""
    primaries = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    matrix = columns * np.linalg.solve(columns, white)
    rgb = rng.random((2, 3, 4, 5))
    rgb[0, :, 0, 0] = 0.01  # on the straight parts of both curves
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    ratio = np.einsum("ij,njhw->nihw", matrix, linear) / white.reshape(1, 3, 1, 1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[:, 0], f[:, 1], f[:, 2]
    expected = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    np.testing.assert_allclose(to_lab(paddle.to_tensor(rgb)).numpy() * 100, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("rgb", "oklab"),  # Ottosson's values
    [
        ((1, 1, 1), (1, 0, 0)),
        ((1, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 1, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 1), (0.45201, -0.03246, -0.31153)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_oklab_of_the_primaries_is_known(rgb, oklab):
    ours = to_oklab(paddle.to_tensor(rgb, dtype="float64").reshape([1, 3, 1, 1]))
    np.testing.assert_allclose(ours.numpy().ravel(), oklab, atol=2e-5)


@pytest.mark.parametrize("chroma", [False, True])
def test_colour_distance_is_euclidean(rng, chroma):
    sr, gt = pair(rng, 2, 3, 4, 5)
    spaces = [to_oklab(paddle.to_tensor(image)).numpy() for image in (sr, gt)]
    squares = (spaces[0] - spaces[1])[:, 1 if chroma else 0 :] ** 2
    expected = np.sqrt(squares.sum(axis=1)).mean()
    assert value(ColorLoss(chroma=chroma), sr, gt) == pytest.approx(expected, rel=1e-9)
    gray = [np.repeat(image[:, :1], 3, axis=1) for image in (sr, gt)]
    assert value(ColorLoss(chroma=True), *gray) < 1e-6


def test_wrong_options_and_images_are_named(rng):
    for build, message in (
        (lambda: L1Loss(reduction="means"), "did you mean 'mean'"),
        (lambda: CharbonnierLoss(eps=0.0), "eps must be above 0"),
        (lambda: HuberLoss(delta=0), "delta must be above 0"),
        (lambda: GradientLoss(alpha=0.5), "alpha must be at least 1"),
        (lambda: FocalFrequencyLoss(patch_factor=0), "patch_factor 1 or more"),
        (lambda: MSSSIMLoss(scales=6), "scales must be 1 to 5"),
        (lambda: ColorLoss(space="okllab"), "did you mean 'oklab'"),
    ):
        with pytest.raises(ConfigError, match=message):
            build()
    small, gray = rng.random((1, 3, 40, 64)), rng.random((1, 1, 16, 15))
    with pytest.raises(DataError, match=r"44 pixels or more, got \[40, 64\]"):
        value(MSSSIMLoss(scales=3), small, small)
    with pytest.raises(ConfigError, match="RGB"):
        value(ColorLoss(), gray, gray)
    with pytest.raises(ConfigError, match="does not divide images of 16x15"):
        value(FocalFrequencyLoss(patch_factor=2), gray, gray)


def _tensor(array):
    return paddle.to_tensor(np.asarray(array, np.float32))


def test_local_variance_keeps_its_digits_on_a_large_offset(rng):
    x = rng.random((1, 1, 12, 12)) * 1e-2
    plain, shifted = local_variance(_tensor(x)), local_variance(_tensor(x + 1))
    np.testing.assert_allclose(shifted.numpy(), plain.numpy(), rtol=2e-3)


def test_the_map_is_zero_where_the_trained_image_is_better(rng):
    gt, sr = rng.random((1, 3, 10, 10)), rng.random((1, 3, 10, 10))
    averaged = sr.copy()
    averaged[..., :5] = gt[..., :5]
    averaged[..., 5:] = gt[..., 5:] + 1
    result = artifact_map(*(_tensor(x) for x in (gt, sr, averaged))).numpy()
    assert (result[..., :5] > 0).all()
    assert (result[..., 5:] == 0).all()


def test_an_even_window_is_refused():
    with pytest.raises(ConfigError, match="odd"):
        ArtifactLoss(ksize=6)
