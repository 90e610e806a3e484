"""DISTS: similarity of structure and of texture, by statistics of VGG features.

Ding, Ma, Wang, Simoncelli, "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2020,
arXiv:2004.07728; https://github.com/dingkeyan93/DISTS. Its calibration is read from that project's file, the
backbone from torchvision's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.criterions.vgg import IMAGENET_MEAN, IMAGENET_STD, WITHOUT, read_backbone, vgg_features
from ppsr.errors import ConfigError, WeightError
from ppsr.precision import at_least_float32, in_float32
from ppsr.weights import load_state, read_state

__all__ = ["DISTS", "DISTSLoss", "build_dists"]

_TAPS = (3, 8, 15, 22, 29)  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
_CHANNELS = (3, 64, 128, 256, 512, 512)  # the image is the first map
_C = 1e-6  # in both quotients
_FILE = Path("data/pretrained/dists_weights.pt")


class DISTS(nn.Layer):
    """Two RGB images (N, 3, H, W) in [0, 1] -> distance (N), 0 for equal ones. Frozen.

    Fresh weights are random: see `build_dists`. The network is VGG16 whose max-pooling is replaced by L2
    pooling: the root of Hann-weighted squares, 3x3, at every second place.
    """

    alpha: Tensor
    beta: Tensor
    hann: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.LayerList(vgg_features("vgg16", _TAPS[-1] + 1))
        even = paddle.full([1, sum(_CHANNELS), 1, 1], 0.5 / sum(_CHANNELS))
        self.register_buffer("alpha", even)
        self.register_buffer("beta", even.clone())
        line = np.hanning(5)[1:-1]
        square = (np.outer(line, line) / line.sum() ** 2).astype(np.float32)
        constants = {
            "hann": square.reshape(1, 1, 3, 3),
            "mean": np.array(IMAGENET_MEAN, np.float32).reshape(1, 3, 1, 1),
            "std": np.array(IMAGENET_STD, np.float32).reshape(1, 3, 1, 1),
        }
        for name, value in constants.items():
            self.register_buffer(name, paddle.to_tensor(value), persistable=False)
        self.eval()
        for parameter in self.parameters():
            parameter.stop_gradient = True

    def forward(self, x: Tensor, gt: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise ConfigError(f"DISTS needs RGB images, got {x.shape[1]} channel(s)")
        return self._distance(self.maps(at_least_float32(x)), self.maps(at_least_float32(gt)))

    def maps(self, x: Tensor) -> list[Tensor]:
        """The image and its five feature maps."""
        maps = [x]
        x = (x - self.mean) / self.std
        for index, layer in enumerate(self.features):
            x = self._pooled(x) if isinstance(layer, nn.MaxPool2D) else layer(x)
            if index in _TAPS:
                maps.append(x)
        return maps

    @in_float32
    def _pooled(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        window = self.hann.expand([channels, 1, 3, 3])
        return paddle.sqrt(F.conv2d(x * x, window, stride=2, padding=1, groups=channels) + 1e-12)

    @in_float32
    def _distance(self, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
        total = self.alpha.sum() + self.beta.sum()
        sizes = list(_CHANNELS)
        alphas, betas = (paddle.split(weights / total, sizes, axis=1) for weights in (self.alpha, self.beta))
        similarity = paddle.zeros([ours[0].shape[0]])
        for x, y, alpha, beta in zip(ours, theirs, alphas, betas, strict=True):
            mean_x, mean_y = (maps.mean(axis=[2, 3], keepdim=True) for maps in (x, y))
            var_x, var_y, covariance = (
                (a * b).mean(axis=[2, 3], keepdim=True)
                for a, b in ((x - mean_x, x - mean_x), (y - mean_y, y - mean_y), (x - mean_x, y - mean_y))
            )
            texture = (2 * mean_x * mean_y + _C) / (mean_x**2 + mean_y**2 + _C)
            structure = (2 * covariance + _C) / (var_x + var_y + _C)
            similarity = similarity + (alpha * texture + beta * structure).sum(axis=[1, 2, 3])
        return 1 - similarity


def build_dists(*, weights: str | Path | None = None, calibration: str | Path | None = None) -> DISTS:
    """DISTS with its published calibration and torchvision's VGG16.

    See `DISTSLoss` for the files.

    Raises:
        ConfigError: a file is absent.
        WeightError: a file has other contents.
    """
    path = _FILE if calibration is None else Path(calibration)
    if not path.is_file():
        raise ConfigError(
            f"DISTS needs its calibration, and there is no file {path}. Take weights.pt (12,288 bytes) of "
            f"https://github.com/dingkeyan93/DISTS, put it there, or name its place in `calibration:`. "
            f"{WITHOUT}"
        )
    state = read_state(path)
    if not {"alpha", "beta"} <= set(state):
        raise WeightError(f"{path} has no entries alpha and beta; expected the calibration of DISTS")
    features = read_backbone("vgg16", weights, needed_by="DISTS")
    net = DISTS()
    own = {key: value for key, value in features.items() if key in net.state_dict()}
    load_state(net, {**own, "alpha": state["alpha"], "beta": state["beta"]})
    return net


class DISTSLoss(nn.Layer):
    """(sr, gt), each RGB (N, 3, H, W) in [0, 1] -> mean DISTS distance.

    Args:
        weights: VGG16's file; None means data/pretrained/<published name>.
        calibration: the file with alpha and beta; None means data/pretrained/dists_weights.pt.
    """

    def __init__(self, *, weights: str | Path | None = None, calibration: str | Path | None = None) -> None:
        super().__init__()
        self.distance = build_dists(weights=weights, calibration=calibration)

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        return self.distance(sr, gt).mean()
