"""Loader workers that meet broken data."""

from __future__ import annotations

import multiprocessing

import cv2
import numpy as np
import pytest
from paddle.io import Dataset

from ppsr.config.schema import LoaderOptions
from ppsr.datasets.files import BadFiles
from ppsr.engine.distributed import Group
from ppsr.engine.loader import build_stream
from ppsr.errors import DataError


class _Numbers(Dataset):
    """Index -> index; some cannot be read."""

    def __init__(self, total, broken):
        super().__init__()
        self.total, self.broken = total, broken
        self.bad = BadFiles(total)

    def __len__(self):
        return self.total

    def __getitem__(self, key):
        return {"x": np.array([self.bad.read(key[1], self._read)], np.float32)}

    def _read(self, index):
        if index in self.broken:
            raise DataError(f"picture {index} is broken")
        return index


def _stream(dataset, workers):
    options = LoaderOptions(batch_size=4, num_workers=workers, shuffle=False, use_shared_memory=False)
    return build_stream(dataset, options, Group(), seed=0, samples_done=0)


def _epoch(dataset, workers):
    stream = _stream(dataset, workers)
    return [float(v) for _ in range(len(dataset) // 4) for v in next(stream)["x"].numpy().reshape(-1)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_broken_items_are_replaced_by_the_next_with_any_number_of_workers(workers):
    expected = [6.0 if index in (5,) else float(index) for index in range(40)]
    assert _epoch(_Numbers(40, {5}), workers) == expected


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_too_many_broken_items_end_training_with_any_number_of_workers(workers):
    with pytest.raises(DataError):
        _epoch(_Numbers(40, {5, 22}), workers)


@pytest.mark.slow
def test_a_stream_that_is_given_up_leaves_no_worker_behind():
    before = set(multiprocessing.active_children())
    stream = _stream(_Numbers(40, set()), workers=2)
    next(stream)
    assert len(set(multiprocessing.active_children()) - before) == 2
    stream.close()
    assert not set(multiprocessing.active_children()) - before


class _Threads(Dataset):
    """Items hold the number of threads that OpenCV has."""

    def __len__(self):
        return 4

    def __getitem__(self, key):
        return {"gt": np.array([cv2.getNumThreads()])}


def test_opencv_has_one_thread_in_loader_workers_and_keeps_its_own_elsewhere():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        options = LoaderOptions(batch_size=2, num_workers=1)
        batch = next(build_stream(_Threads(), options, Group(), seed=0, samples_done=0))
        assert batch["gt"].numpy().ravel().tolist() == [1, 1]
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
