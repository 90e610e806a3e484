"""Datasets and their transforms."""

from ppsr.registry import DATASETS

DATASETS.lazy(
    {
        "DASRDataset": "ppsr.datasets.dasr:DASRDataset",
        "PyramidDataset": "ppsr.datasets.pyramid:PyramidDataset",
        "RealESRGANDataset": "ppsr.datasets.realesrgan:RealESRGANDataset",
        "DepthDataset": "ppsr.datasets.paired:DepthDataset",
        "GTDataset": "ppsr.datasets.gt_only:GTDataset",
        "ImageNetPairedDataset": "ppsr.datasets.gt_only:ImageNetPairedDataset",
        "MixedDataset": "ppsr.datasets.mixed:MixedDataset",
        "SRDataset": "ppsr.datasets.paired:SRDataset",
        "SingleImageDataset": "ppsr.datasets.paired:SingleImageDataset",
    }
)
