"""Datasets and their transforms."""

from ppsr.registry import DATASETS, TRANSFORMS

DATASETS.lazy(
    {
        "DASRDataset": "ppsr.datasets.dasr:DASRDataset",
        "RealESRGANDataset": "ppsr.datasets.realesrgan:RealESRGANDataset",
        "SRDataset": "ppsr.datasets.paired:SRDataset",
        "SingleImageDataset": "ppsr.datasets.paired:SingleImageDataset",
    }
)
TRANSFORMS.lazy({})
