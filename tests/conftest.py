"""Fixtures of all tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def package_log_as_it_was() -> Iterator[None]:
    """A command that ran in this process leaves no handler on a stream that pytest has closed since."""
    logger = logging.getLogger("ppsr")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    for handler in set(logger.handlers) - set(handlers):
        handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate
