"""Image quality metrics."""

from ppsr.registry import METRICS

METRICS.lazy(
    {
        "DISTSMetric": "ppsr.metrics.similarity:DISTSMetric",
        "LPIPSMetric": "ppsr.metrics.similarity:LPIPSMetric",
        "MAD": "ppsr.metrics.depth:MAD",
        "MSSSIM": "ppsr.metrics.similarity:MSSSIM",
        "NIQE": "ppsr.metrics.niqe:NIQE",
        "PE": "ppsr.metrics.depth:PE",
        "PSNR": "ppsr.metrics.psnr_ssim:PSNR",
        "RMSE": "ppsr.metrics.depth:RMSE",
        "SSIM": "ppsr.metrics.psnr_ssim:SSIM",
    }
)
