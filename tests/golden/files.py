"""Golden files: outputs of the published code on fixed weights and inputs.

The folder is `tests/golden/data`, or the one named by the environment variable PPSR_GOLDEN_DIR: the same
tests run on any other files of the same families.

How the files were made: the published modules were imported into PyTorch on a CPU (their registries and
unused imports replaced by empty ones), built with the arguments in `meta`, given random parameters, and run
on random images; `meta` names the version and the seed. A file keeps the whole state dict, what went in,
what came out, and gradients of some parameters. Where `meta` has an entry `weights`, parameters have three
values only, so that a file about an option stays small.
"""

import fnmatch
import json
import os
from functools import cached_property
from pathlib import Path

import numpy as np
import paddle
import pytest

DATA = Path(os.environ.get("PPSR_GOLDEN_DIR") or Path(__file__).parent / "data")
CLAIMED: set[str] = set()


class Golden:
    """One file: `param/<torch key>`, `input/*`, `output/*` and `meta`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = {key: archive[key] for key in archive.files}

    @cached_property
    def meta(self) -> dict:
        return json.loads(str(self.arrays["meta"]))

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """Entries below a prefix, without it."""
        prefix = prefix.rstrip("/") + "/"
        return {k[len(prefix) :]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    @property
    def params(self) -> dict[str, np.ndarray]:
        return self.group("param")

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays


def golden(*patterns: str) -> pytest.MarkDecorator:
    """Parametrise a test over every golden file that matches, and claim these files."""
    files = sorted(
        p for p in DATA.glob("*.npz") if any(fnmatch.fnmatch(p.stem, pattern) for pattern in patterns)
    )
    CLAIMED.update(p.stem for p in files)
    return pytest.mark.parametrize("path", files, ids=lambda p: p.stem)


def with_values(ours: paddle.Tensor, stored: np.ndarray) -> paddle.Tensor:
    """Our tensor with the stored values and its own gradient.

    The gradient of an absolute difference is a sign. Where a difference is as small as rounding, the sign
    hangs on the last bit, and one other sign among N moves a gradient by a share of 1 / sqrt(N).
    """
    return ours + (paddle.to_tensor(stored) - ours).detach()


def assert_close(
    actual, expected, *, atol: float | np.ndarray = 0.0, rtol: float = 0.0, what: str = ""
) -> None:
    """Compare shapes, then values.

    `atol` may hold a bound for each element; `rtol` is relative to the largest finite magnitude expected, not
    per element. Where an infinity or nan is expected, exactly that must be found.
    """
    actual, expected = (np.asarray(values).astype(np.float64) for values in (actual, expected))
    assert list(actual.shape) == list(expected.shape), (
        f"{what}: shape {actual.shape}, expected {expected.shape}"
    )
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite], err_msg=what)
    actual, expected = actual[finite], expected[finite]
    bound = np.broadcast_to(atol, finite.shape)[finite] + rtol * np.abs(expected).max(initial=0.0)
    error = np.abs(actual - expected)
    assert np.all(error <= bound), (
        f"{what}: largest difference {error.max():.3g}, allowed {bound[np.argmax(error - bound)]:.3g}"
    )


def assert_near(actual, expected, tolerance: float, what: str = "") -> None:
    """Compare to a share of one, or of the largest expected magnitude where that is more."""
    largest = float(np.abs(expected).max(initial=0.0))
    assert_close(actual, expected, atol=tolerance * max(1.0, largest), what=what)
