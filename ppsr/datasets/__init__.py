"""Datasets and their transforms."""

from ppsr.registry import DATASETS, TRANSFORMS

DATASETS.lazy(
    {
        "DASRDataset": "ppsr.datasets.dasr:DASRDataset",
        "PyramidDataset": "ppsr.datasets.pyramid:PyramidDataset",
        "SRDataset": "ppsr.datasets.paired:SRDataset",
        "SingleImageDataset": "ppsr.datasets.paired:SingleImageDataset",
    }
)
TRANSFORMS.lazy({})
