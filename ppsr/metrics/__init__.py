"""Image quality metrics and named evaluation protocols."""

from ppsr.registry import METRICS

METRICS.lazy(
    {
        "PSNR": "ppsr.metrics.psnr_ssim:PSNR",
        "SSIM": "ppsr.metrics.psnr_ssim:SSIM",
    }
)
