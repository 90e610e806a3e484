"""Datasets and their transforms."""

from ppsr.registry import DATASETS, TRANSFORMS

DATASETS.lazy({})
TRANSFORMS.lazy({})
