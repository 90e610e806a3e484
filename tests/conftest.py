"""Fixtures of all tests."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from tests.bars import bar, pytest_addoption, pytest_terminal_summary  # noqa: F401  a plugin


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor change what the user's cache remembers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPSR_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def package_log_of_a_new_process() -> None:
    """A command that ran in this process, in a test or a fixture, left handlers on streams that are
    closed."""
    logger = logging.getLogger("ppsr")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, whatever waits for values of the device is an error."""
    import paddle

    def wait(*_: object, **__: object) -> None:
        raise AssertionError("the host waits for the device")

    for name in ("numpy", "item", "tolist", "__float__", "__int__", "__bool__", "__array__", "__index__"):
        monkeypatch.setattr(paddle.Tensor, name, wait)
    with pytest.raises(AssertionError, match="waits"):
        float(paddle.ones([]))


@pytest.fixture
def like_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Arrays take the way to a GPU that does not wait, with a copy on the CPU in place of Paddle's; nothing
    is accelerated by oneDNN."""
    import paddle

    from ppsr import accelerate
    from ppsr.compat import paddle as versions

    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(versions, "copy_from_pinned", lambda v, make=paddle.to_tensor: make(v))
    with accelerate.disabled():
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks start with zeros: drawing numbers takes most of the time of building large ones."""
    from paddle.nn.initializer import Constant, Initializer

    zero = Constant(0.0)
    monkeypatch.setattr(Initializer, "__call__", lambda self, *arguments: zero.forward(*arguments))
