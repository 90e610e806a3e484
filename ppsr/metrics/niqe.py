"""NIQE: naturalness of an image without a reference.

Mittal, Soundararajan, Bovik, IEEE Signal Processing Letters 2013. Statistics of normalised luma in blocks of
96 pixels at two scales are compared with those of pristine images. Those parameters are not part of this
project: the file `niqe_pris_params.npz` of BasicSR (or of any project that shares it) is read or downloaded.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from pydantic import NonNegativeInt
from scipy.ndimage import correlate1d
from scipy.special import gamma

from ppsr.errors import ConfigError, DataError, WeightError
from ppsr.imaging.resize import matlab_resize
from ppsr.metrics.images import checked_image, luma
from ppsr.weights.catalogue import find_entry
from ppsr.weights.fetch import get_entry

__all__ = ["NIQE", "block_features", "fit_aggd"]

_BLOCK = 96
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
_DEFAULT_FILE = Path("data/pretrained/niqe_pris_params.npz")
_CATALOGUE_NAME = "niqe-parameters"
_SHAPES = {"mu_pris_param": (36,), "cov_pris_param": (36, 36), "gaussian_window": (7, 7)}


@lru_cache(maxsize=1)
def _shape_grid() -> tuple[np.ndarray, np.ndarray]:
    """Shapes 0.2 to 10 and the moment ratio that each has."""
    shapes = np.arange(0.2, 10.001, 0.001)
    return shapes, gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))


def fit_aggd(block: np.ndarray) -> tuple[float, float, float]:
    """Shape, left and right width of the asymmetric generalised Gaussian with a sample's moments.

    A sample without values on both sides of zero has the smallest shape, as in the original MATLAB code, and
    the width nan on an empty side.
    """
    values = block.ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(np.mean(values[values < 0] ** 2)) if (values < 0).any() else np.nan
        right = np.sqrt(np.mean(values[values > 0] ** 2)) if (values > 0).any() else np.nan
        skew = left / right
        ratio = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    shapes, ratios = _shape_grid()
    wanted = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = float(shapes[np.argmin((ratios - wanted) ** 2)])  # the first for nan
    width = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, float(left * width), float(right * width)


def block_features(block: np.ndarray) -> np.ndarray:
    """18 features of a block of normalised luma: its own distribution, and that of products with four
    neighbours."""
    shape, left, right = fit_aggd(block)
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = fit_aggd(block * np.roll(block, shift, axis=(0, 1)))
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
        features += [shape, mean, left, right]
    return np.array(features)


class NIQE:
    """Naturalness of H x W x 3 RGB images in 0..255; at least 0, small is natural. The truth is ignored.

    Args:
        parameters: `niqe_pris_params.npz`; None means data/pretrained/niqe_pris_params.npz, else the entry
            `niqe-parameters` of the catalogue, which is downloaded once.
        convert_to: "y" (BT.601, 16..235) or "gray" (0.299, 0.587, 0.114, rounded).

    Raises:
        ConfigError: the file is absent or holds something else; unknown conversion.
    """

    higher_is_better = False
    no_reference = True

    def __init__(
        self, *, parameters: str | Path | None = None, crop_border: NonNegativeInt = 0, convert_to: str = "y"
    ) -> None:
        if convert_to not in ("y", "gray"):
            raise ConfigError(f"convert_to must be y or gray, got {convert_to!r}")
        self.crop_border = crop_border
        self.convert_to = convert_to
        self.mean, self.covariance, self.window = _read_parameters(_parameter_file(parameters))

    def __call__(self, sr: np.ndarray, gt: np.ndarray | None = None) -> float:
        plane = np.round(self._plane(checked_image(sr, crop_border=self.crop_border))).astype(np.float32)
        rows, columns = plane.shape[0] // _BLOCK, plane.shape[1] // _BLOCK
        if rows * columns < 2:
            raise DataError(f"NIQE needs two blocks of {_BLOCK} pixels inside the border, got {plane.shape}")
        plane = plane[: rows * _BLOCK, : columns * _BLOCK]
        scales = []
        for size in (_BLOCK, _BLOCK // 2):
            normalised = self._normalised(plane)
            scales.append(
                [
                    block_features(normalised[i * size : (i + 1) * size, j * size : (j + 1) * size])
                    for j in range(columns)
                    for i in range(rows)
                ]
            )
            plane = matlab_resize(plane / 255, 0.5).astype(np.float32) * 255
        features = np.concatenate(scales, axis=1)
        complete = features[~np.isnan(features).any(axis=1)]
        if len(complete) < 2:
            raise DataError("NIQE needs two blocks with texture; the image is flat")
        difference = self.mean - np.nanmean(features, axis=0)
        inverse = np.linalg.pinv((self.covariance + np.cov(complete, rowvar=False)) / 2)
        return float(np.sqrt(difference @ inverse @ difference))

    def _plane(self, values: np.ndarray) -> np.ndarray:
        if values.shape[2] == 3 and self.convert_to == "gray":
            # float32 and the published order of channels: ties of the later rounding fall the same way
            bgr = np.ascontiguousarray(values[..., ::-1] / 255, np.float32)
            return (cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY) * np.float32(255)).astype(np.float64)
        return luma(values) if values.shape[2] == 3 else values[..., 0]

    def _normalised(self, plane: np.ndarray) -> np.ndarray:
        """(x - local mean) / (local deviation + 1); exactly zero where a float32 plane is flat."""
        wide = plane.astype(np.float64)
        mean = self._smooth(wide)
        deviation = np.sqrt(np.abs(self._smooth(wide**2) - mean**2))
        return (wide - mean.astype(np.float32)) / (deviation + 1)

    def _smooth(self, plane: np.ndarray) -> np.ndarray:
        """The window is a product of two equal lines, which are its normalised middle row."""
        line = self.window.sum(axis=0)
        return correlate1d(correlate1d(plane, line, axis=0, mode="nearest"), line, axis=1, mode="nearest")


def _parameter_file(given: str | Path | None) -> Path:
    """The file that is given, that of the project, or the catalogue's."""
    path = Path(given or _DEFAULT_FILE)
    if path.is_file():
        return path
    if given:
        raise ConfigError(
            f"NIQE needs the parameters of pristine images, and there is no file {path}. Take "
            "niqe_pris_params.npz from https://github.com/XPixelGroup/BasicSR (basicsr/metrics), and put it "
            "there or name its place in `parameters:`. Or leave this metric out."
        )
    try:
        return get_entry(find_entry(_CATALOGUE_NAME))
    except WeightError as error:
        raise ConfigError(
            f"NIQE needs the parameters of pristine images. {error} Or put it at {path}, name its place in "
            "`parameters:`, or leave this metric out."
        ) from None


def _read_parameters(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, covariance and window of pristine images."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], np.float64) for name in _SHAPES}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is not niqe_pris_params.npz: {error}") from None
    for name, shape in _SHAPES.items():
        if arrays[name].size != math.prod(shape):
            raise ConfigError(f"{path} is not niqe_pris_params.npz: '{name}' has {arrays[name].size} values")
    mean, covariance, window = (arrays[name].reshape(shape) for name, shape in _SHAPES.items())
    return mean, covariance, window
