"""Augmentations that mix the pairs of a batch, on the device that trains.

mixup: Zhang et al., ICLR 2018, arXiv:1710.09412. CutMix: Yun et al., ICCV 2019, arXiv:1905.04899. ResizeMix:
Qin et al., arXiv:2012.11101. CutBlur: Yoo et al., CVPR 2020, arXiv:2004.00448. At most one is applied to a
batch, with strengths from the ranges of traiNNer-redux's "mixture of augmentations". Differences from it: the
partner of a pair is always another one, and CutBlur shrinks the whole target before it cuts, so that the
border of the box does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from ppsr.compat.paddle import full_precision
from ppsr.errors import ConfigError
from ppsr.imaging.resize import cubic_matrix
from ppsr.memory import device_array

__all__ = ["augment_batches"]

_MIXUP_WEIGHT = 0.4, 0.6
_CUTMIX_KEPT_AREA = 0.0, 0.9
_RESIZEMIX_SIDE = 0.5, 0.9
_CUTBLUR_SIDE = 0.2, 0.7

Images = dict[str, Tensor]
Box = tuple[slice, slice]


@paddle.no_grad()
def augment_batches(
    batches: Iterable[MutableMapping[str, Any]], probabilities: Mapping[str, float], seed: Sequence[int]
) -> None:
    """Apply one augmentation, or none, to all images of each batch, in place.

    Args:
        batches: batches with `lq` (N, C, H, W) in [0, 1] and images of a multiple of its size, such as `gt`.
        probabilities: probability of "mixup", "cutmix", "resizemix" and "cutblur"; the sum is at most 1.
        seed: seed of all random choices.

    Raises:
        ConfigError: one pair cannot be mixed; or a batch holds numbers that belong to single images, which
            mixed ones do not have.

    Example:
        >>> augment_batches([batch], {"mixup": 0.5}, [0])
    """
    rng = np.random.default_rng(seed)
    for batch in batches:
        _check(batch, probabilities)
        drawn = rng.random()
        for name, augment in _AUGMENTATIONS.items():
            drawn -= probabilities.get(name, 0.0)
            if drawn < 0:
                images = {k: v for k, v in batch.items() if isinstance(v, Tensor) and v.ndim == 4}
                batch.update(augment(images, rng))
                break


def _check(batch: Mapping[str, Any], probabilities: Mapping[str, float]) -> None:
    used = [name for name in _AUGMENTATIONS if probabilities.get(name)]
    for entry in ("degradation_params", "paired"):
        if used and entry in batch:
            raise ConfigError(f"step.batch_augment mixes images, but '{entry}' of the batch cannot be mixed")
    if len(batch["lq"]) < 2 and used not in ([], ["cutblur"]):
        raise ConfigError(f"step.batch_augment.{used[0]} needs a dataset.train.batch_size of 2 or more")


def _partners(images: Images, rng: np.random.Generator) -> Images:
    """For each image one of another pair, for all images of a pair the same."""
    shift = int(rng.integers(1, len(images["lq"])))
    return {name: paddle.roll(image, shift, axis=0) for name, image in images.items()}


def _box(images: Images, ratio: float, rng: np.random.Generator) -> Box:
    """Rows and columns of LR around a random centre, as far as they are inside, of `ratio` of its sides."""
    sides = []
    for length in images["lq"].shape[2:]:
        half, centre = int(length * ratio) // 2, int(rng.integers(length))
        sides.append(slice(max(0, centre - half), min(length, centre + half)))
    return sides[0], sides[1]


def _scaled(box: Box, images: Images, name: str) -> Box:
    """A box of LR in another image of the pair."""
    factor = images[name].shape[2] // images["lq"].shape[2]
    rows, columns = (slice(side.start * factor, side.stop * factor) for side in box)
    return rows, columns


def _pasted(image: Tensor, box: Box, patch: Tensor) -> Tensor:
    result = image.clone()
    result[:, :, box[0], box[1]] = patch
    return result


@cache
def _weights(place: str, size: int, length: int) -> Tensor:
    return device_array(cubic_matrix(size, length).toarray())


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bicubic resizing, clipped to [0, 1]."""
    place = paddle.get_device()
    rows, columns = (
        _weights(place, old, new) for old, new in zip(image.shape[2:], (height, width), strict=True)
    )
    with full_precision():
        return paddle.matmul(paddle.matmul(rows, image), columns, transpose_y=True).clip(0, 1)


def _mixup(images: Images, rng: np.random.Generator) -> Images:
    """The weighted mean of two pairs."""
    weight = rng.uniform(*_MIXUP_WEIGHT)
    partners = _partners(images, rng)
    return {name: image * weight + partners[name] * (1 - weight) for name, image in images.items()}


def _cutmix(images: Images, rng: np.random.Generator) -> Images:
    """A box of another pair at its place."""
    box = _box(images, (1 - rng.uniform(*_CUTMIX_KEPT_AREA)) ** 0.5, rng)
    partners = _partners(images, rng)
    result = {}
    for name, image in images.items():
        own = _scaled(box, images, name)
        result[name] = _pasted(image, own, partners[name][:, :, own[0], own[1]])
    return result


def _resizemix(images: Images, rng: np.random.Generator) -> Images:
    """Another pair as a whole, shrunk into a box."""
    box = _box(images, rng.uniform(*_RESIZEMIX_SIDE), rng)
    partners = _partners(images, rng)
    if any(side.start == side.stop for side in box):
        return images
    result = {}
    for name, image in images.items():
        rows, columns = own = _scaled(box, images, name)
        small = _resized(partners[name], rows.stop - rows.start, columns.stop - columns.start)
        result[name] = _pasted(image, own, small)
    return result


def _cutblur(images: Images, rng: np.random.Generator) -> Images:
    """LR whose box shows the target, shrunk without any degradation."""
    box = _box(images, rng.uniform(*_CUTBLUR_SIDE), rng)
    sharp = _resized(images["gt"], *images["lq"].shape[2:])[:, :, box[0], box[1]]
    return {name: _pasted(images[name], box, sharp) for name in ("lq", "lq_view2") if name in images}


_AUGMENTATIONS: dict[str, Callable[[Images, np.random.Generator], Images]] = {
    "mixup": _mixup,
    "cutmix": _cutmix,
    "resizemix": _resizemix,
    "cutblur": _cutblur,
}
