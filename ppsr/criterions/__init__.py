"""Losses; each returns a float32 scalar."""

from ppsr.registry import CRITERIONS

CRITERIONS.lazy({})
