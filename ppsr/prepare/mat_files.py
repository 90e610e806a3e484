"""Matrices out of MATLAB's .mat files, version 5 to 7, by SciPy in a process of its own.

Damaged files bring SciPy's reader down with its whole process (segmentation fault).
"""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from ppsr.errors import DataError
from ppsr.files import check_regular

_SECONDS = 10  # of the processor, and one more for each MB
_MOST_NUMBERS, _PER_BYTE = 2**26, 32  # of a matrix, and for each byte of a file that is larger than 32 kB


def read_mat(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """2-D matrices by name; floats as float64.

    Raises:
        DataError: not a file of version 5 to 7, damaged, or a variable is missing, too large or no real, full
            2-D matrix of numbers.
    """
    check_regular(path)
    seconds = _SECONDS + (path.stat().st_size >> 20 if path.exists() else 0)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_limit, initargs=(seconds,)) as pool:
        try:
            return pool.submit(load_matrices, path, names).result()
        except BrokenProcessPool:
            text = f"{path} is damaged: reading it crashes SciPy or takes more than {seconds} s"
            raise DataError(text) from None


def _limit(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def load_matrices(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Like `read_mat`, in this process."""
    from scipy.io import loadmat, whosmat

    check_regular(path)
    try:
        most = min(_MOST_NUMBERS, _PER_BYTE * max(2**15, path.stat().st_size))
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        for name in names:
            if name not in shapes:
                raise DataError(f"{path} has no variable {name}")
            if len(shapes[name]) != 2 or np.prod(shapes[name]) > most:
                raise DataError(f"{path}: {name} is not a matrix, or is too large: {shapes[name]}")
        found = loadmat(path, variable_names=names)
        matrices = [np.asarray(found[name]) for name in names]
    except NotImplementedError:
        raise DataError(f"{path} is a .mat file of version 7.3; save it with -v7") from None
    except DataError:
        raise
    except Exception as error:  # SciPy raises almost anything on damaged files
        raise DataError(f"cannot read {path} as a .mat file of version 5 to 7: {error}") from None
    if any(matrix.ndim != 2 or matrix.dtype.kind not in "iuf" for matrix in matrices):
        raise DataError(f"{path}: {' and '.join(names)} are not real, full matrices of numbers")
    return [matrix.astype(np.float64) if matrix.dtype.kind == "f" else matrix for matrix in matrices]
