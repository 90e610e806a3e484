"""Optimizers, learning-rate schedules, exponential moving average."""

from ppsr.registry import LRSCHEDULERS, OPTIMIZERS

LRSCHEDULERS.lazy({})
OPTIMIZERS.lazy({})
