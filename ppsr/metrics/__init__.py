"""Image quality metrics and named evaluation protocols."""

from ppsr.registry import METRICS

METRICS.lazy({})
