"""Protocols of evaluation."""

from ppsr.evaluation.protocols import PROTOCOLS


def test_metrics_have_the_channels_and_the_border_of_the_protocol():
    classic = PROTOCOLS["classic"].metric_configs(4, ["MS-SSIM", "LPIPSMetric", "dists"], {})
    assert classic == {
        "msssim": {"name": "MSSSIM", "crop_border": 4, "test_y_channel": True},
        "lpips": {"name": "LPIPSMetric", "crop_border": 0},
        "dists": {"name": "DISTSMetric", "crop_border": 0},
    }
    reflash = PROTOCOLS["reflash"].metric_configs(4, ["SSIM"], {})
    assert reflash == {"ssim": {"name": "SSIM", "crop_border": 4, "test_y_channel": False}}
