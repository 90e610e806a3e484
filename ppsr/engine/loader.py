"""From a dataset section to batches: an endless, position-exact training stream, and the validation set."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle.io.dataloader.collate import default_collate_fn

from ppsr.config.schema import LoaderOptions
from ppsr.datasets.gather import too_many
from ppsr.datasets.sampler import EpochBatchSampler
from ppsr.datasets.samples import uint16_to_int16, unit_sample
from ppsr.degradations.device import to_unit
from ppsr.engine.distributed import Group
from ppsr.engine.workers import batches_of_workers
from ppsr.errors import ConfigError, DataError, PpsrError, mistake
from ppsr.generators.apply import input_channels
from ppsr.memory import device_array
from ppsr.models.base import Batch
from ppsr.registry import DATASETS

logger = logging.getLogger(__name__)

_CHECKED = 100  # samples whose headers are read at every start, in a fraction of a second
_CERTAIN_SHARE = 0.06  # of broken ones among these; a set with 1 % has as many once in 14,000 starts
_UINT8, _UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)


def split_section(section: Mapping[str, Any]) -> tuple[dict[str, Any], LoaderOptions]:
    """Separate a dataset's own options from those of the loader."""
    options = {k: v for k, v in section.items() if k in LoaderOptions.model_fields}
    own = {k: v for k, v in section.items() if k not in options}
    return own, LoaderOptions.model_validate(options)


def build_dataset(section: Mapping[str, Any], key: str, **extra: Any) -> tuple[Any, LoaderOptions]:
    """Build a dataset, and read the loader's options of its section.

    Args:
        key: where the section is, such as "dataset.train"; errors begin with it.
        extra: options that the section need not give, for datasets that have them.

    Raises:
        DataError: folders are missing or empty, or names do not pair.
    """
    own, options = split_section(section)
    known = inspect.signature(DATASETS.get(str(own.get("name")))).parameters
    extra = {name: value for name, value in extra.items() if name in known}
    try:
        return DATASETS.build({**extra, **own}), options
    except DataError as error:
        raise type(error)(f"{key}: {error}") from None


def fit_channels(dataset: Any, net: Any, key: str) -> None:
    """Let a dataset read images of as many channels as a network takes.

    Args:
        dataset: its `channels` are set where they are None.
        net: the network; one for luma takes RGB images too.

    Raises:
        ConfigError: the dataset has another number of channels.
    """
    own = getattr(dataset, "channels", 0)
    taken = 3 if getattr(net, "luma", False) and own != 1 else input_channels(net)
    if own is None:
        dataset.channels = taken
    elif own and own != taken:
        raise ConfigError(
            f"{key} has images of {own} channels, but {type(net).__name__} takes {taken}; give both the same"
        )


def check_samples(dataset: Any, key: str, *, limit: int | None = _CHECKED) -> None:
    """Name training samples that cannot be used by their headers, before the first step.

    Args:
        limit: samples to look at; None: all.

    Raises:
        DataError: too many to be replaced while training.
    """
    find = getattr(dataset, "find_unusable", None)
    faults, looked_at = find(limit) if find is not None and len(dataset) else ([], 0)
    certain = looked_at == len(dataset) or len(faults) > _CERTAIN_SHARE * looked_at
    if certain and too_many(len(faults), looked_at):
        raise DataError(
            f"{key}: {len(faults)} of {looked_at} samples cannot be used, more than 1 %; the first: "
            f"{faults[0]}"
        )
    for fault in faults:
        logger.warning("%s: this sample cannot be used and will be replaced by the next: %s", key, fault)


def build_stream(
    dataset: Any, options: LoaderOptions, group: Group, *, seed: int, samples_done: int
) -> Iterator[Batch]:
    """Endless training batches, starting after the `samples_done` samples of all ranks.

    Raises:
        DataError: the dataset has fewer samples than all ranks take together in one batch.
    """
    needed = options.batch_size * group.world
    if len(dataset) < needed and options.drop_last:
        raise DataError(
            f"the training set has {len(dataset)} samples, fewer than batch_size x processes = {needed}; "
            "lower dataset.train.batch_size or add images"
        )
    sampler = EpochBatchSampler(
        length=len(dataset),
        batch_size=options.batch_size,
        seed=seed,
        shuffle=options.shuffle,
        rank=group.rank,
        world=group.world,
        start=samples_done,
    )
    read = getattr(dataset, "sample", partial(_plain_sample, dataset))
    prepare = getattr(dataset, "prepare_batch", None)
    make = partial(_make_batch, read, prepare)
    # Paddle's own loader hangs when a dataset raises without workers, or where one is killed amid a batch
    workers = options.num_workers
    made = batches_of_workers(make, sampler, workers) if workers else map(make, sampler)
    return _finished(made, getattr(dataset, "finish_batch", None))


def _plain_sample(dataset: Any, key: tuple[int, int]) -> dict[str, Any]:
    """A sample of a data set that knows indices alone, as those of users do, whose mistakes are named."""
    name = f"{type(dataset).__name__}[{key[1]}]"
    try:
        sample = dataset[key[1]]
    except (PpsrError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{name} failed: {mistake(error)}") from error
    if not isinstance(sample, Mapping):
        raise DataError(f"{name} is a {type(sample).__name__}; a mapping with lq and gt is needed")
    images = {k: np.asarray(sample[k]) for k in ("lq", "gt") if k in sample}
    for k, image in images.items():
        if image.ndim == 3 and image.shape[2] <= 4 < image.shape[0]:
            raise DataError(f"{name}: {k} has the shape {image.shape}; channels come first: (C, H, W)")
        images[k] = image.astype(np.float32) if image.dtype == np.float64 else image
    return {**sample, **images}


def _make_batch(
    read: Callable[[Any], Mapping[str, Any]],
    prepare: Callable[[dict[str, Any]], None] | None,
    keys: Sequence[Any],
) -> dict[str, Any]:
    """One batch of arrays."""
    samples = [read(key) for key in keys]
    sizes = {np.shape(sample.get("gt", sample.get("lq"))) for sample in samples}
    if len(sizes) > 1:
        raise DataError(
            f"the images of a batch have different sizes, {' and '.join(map(str, sorted(sizes)))}; "
            "set dataset.train.gt_size, or batch_size to 1"
        )
    if any(sample.keys() != samples[0].keys() for sample in samples):
        kinds = " and ".join(sorted({", ".join(sorted(sample)) for sample in samples}))
        raise DataError(
            f"the samples of a batch hold different entries: {kinds}; all data sets need the same"
        )
    for name in samples[0]:
        types = {getattr(sample[name], "dtype", None) for sample in samples}
        if len(types) > 1 and types & {_UINT8, _UINT16}:
            samples = [unit_sample(sample) for sample in samples]
            break
    batch = default_collate_fn([uint16_to_int16(sample) for sample in samples])
    if prepare is not None:
        prepare(batch)
    return batch


def _finished(made: Iterator[Mapping[str, Any]], finish: Callable[[Batch], None] | None) -> Iterator[Batch]:
    """Batches after the part of their making that is done on the training device."""
    try:
        for arrays in made:
            batch = _as_tensors(arrays)
            for name, value in batch.items():
                if isinstance(value, paddle.Tensor) and value.dtype in (paddle.uint8, paddle.int16):
                    batch[name] = to_unit(value)
            if finish is not None:
                finish(batch)
            yield batch
    except DataError as error:
        raise DataError(f"dataset.train: {error}") from None


def _as_tensors(batch: Mapping[str, Any]) -> Batch:
    return Batch({k: device_array(v) if isinstance(v, np.ndarray) else v for k, v in batch.items()})
