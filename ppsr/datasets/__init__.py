"""Datasets and their transforms."""

from ppsr.registry import DATASETS, TRANSFORMS

DATASETS.lazy(
    {
        "DASRDataset": "ppsr.datasets.dasr:DASRDataset",
        "PyramidDataset": "ppsr.datasets.pyramid:PyramidDataset",
        "RealESRGANDataset": "ppsr.datasets.realesrgan:RealESRGANDataset",
        "SRDataset": "ppsr.datasets.paired:SRDataset",
        "SingleImageDataset": "ppsr.datasets.paired:SingleImageDataset",
    }
)
TRANSFORMS.lazy({})
