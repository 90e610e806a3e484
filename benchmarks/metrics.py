"""PSNR and SSIM on luma of one image, against the straightforward float64 version of the same formulas.

The straightforward version is what toolboxes ship: every mean by `cv2.filter2D` with the 11 x 11 window, five
of them, in float64. Both run interleaved in one process. One JSON line per case.

    python benchmarks/metrics.py --side 1024 --repeats 7
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import cv2
import numpy as np

from ppsr.metrics.psnr_ssim import psnr, ssim


def _luma(image):
    return image.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def straightforward(sr, gt):
    """PSNR and SSIM on luma, by the definition."""
    a, b = _luma(sr), _luma(gt)
    line = cv2.getGaussianKernel(11, 1.5)
    window = line @ line.T

    def mean(x):
        return cv2.filter2D(x, -1, window)[5:-5, 5:-5]

    mu_a, mu_b = mean(a), mean(b)
    variance_a, variance_b = mean(a**2) - mu_a**2, mean(b**2) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mu_a * mu_b + c1) * (2 * covariance + c2)) / (
        (mu_a**2 + mu_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return 20 * np.log10(255 / np.sqrt(np.mean((a - b) ** 2))), similarity.mean()


def ours(sr, gt):
    """The same two numbers by the package."""
    return psnr(sr, gt, test_y_channel=True), ssim(sr, gt, test_y_channel=True)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    gt = cv2.GaussianBlur(
        rng.integers(0, 256, (arguments.side, arguments.side, 3), dtype=np.uint8), (9, 9), 2
    )
    sr = np.clip(gt + rng.normal(0, 5, gt.shape), 0, 255).astype(np.uint8)
    difference = max(abs(x - y) for x, y in zip(ours(sr, gt), straightforward(sr, gt), strict=True))
    times = {ours: [], straightforward: []}
    for _ in range(arguments.repeats):
        for function, seconds in times.items():
            started = time.perf_counter()
            function(sr, gt)
            seconds.append(time.perf_counter() - started)
    median = {function: statistics.median(seconds) for function, seconds in times.items()}
    print(
        json.dumps(
            {
                "name": "metrics",
                "case": f"psnr+ssim on luma, {arguments.side}x{arguments.side}",
                "value": round(median[ours], 5),
                "unit": "s",
                "ratio_vs_filter2d_float64": round(median[straightforward] / median[ours], 2),
                "largest_difference": difference,
                "threads": cv2.getNumThreads(),
            }
        )
    )


if __name__ == "__main__":
    main()
