"""Feature networks of VGG and AlexNet in torchvision's layout.

Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556; Krizhevsky, arXiv:1404.5997. The extractor's arguments
and keys are BasicSR's (https://github.com/XPixelGroup/BasicSR, Apache-2.0). Weights are never downloaded:
they are read from a file that the user puts in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError, WeightError, did_you_mean
from ppsr.generators.blocks import Conv2D
from ppsr.weights import load_state, read_state

__all__ = [
    "BACKBONE_FILES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "WITHOUT",
    "VGGFeatureExtractor",
    "alexnet_features",
    "read_backbone",
    "vgg_features",
]

BACKBONE_FILES = {
    "alexnet": "alexnet-owt-7be5be79.pth",
    "vgg11": "vgg11-8a719046.pth",
    "vgg13": "vgg13-19584684.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}
_CONVS_PER_BLOCK = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
WITHOUT = (
    "To do without, remove this criterion or metric from the config, a criterion in its fixed place by "
    "`-o model.perceptual_criterion=null`."
)
_CHANNELS = (64, 128, 256, 512, 512)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def vgg_names(vgg_type: str) -> list[str]:
    """Names of the layers in order, conv1_1 relu1_1 ... pool5; the position is torchvision's index."""
    if vgg_type not in _CONVS_PER_BLOCK:
        raise ConfigError(f"unknown vgg_type '{vgg_type}'; {did_you_mean(vgg_type, _CONVS_PER_BLOCK)}")
    names = []
    for block, count in enumerate(_CONVS_PER_BLOCK[vgg_type], start=1):
        for number in range(1, count + 1):
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
        names.append(f"pool{block}")
    return names


def vgg_features(vgg_type: str, depth: int, pooling_stride: int = 2) -> list[nn.Layer]:
    """The first `depth` layers of a VGG, in torchvision's order."""
    layers: list[nn.Layer] = []
    width = 3
    for name in vgg_names(vgg_type)[:depth]:
        if name.startswith("conv"):
            channels = _CHANNELS[int(name[4]) - 1]
            layers.append(Conv2D(width, channels, 3, padding=1))
            width = channels
        else:
            layers.append(nn.ReLU() if name.startswith("relu") else nn.MaxPool2D(2, pooling_stride))
    return layers


def alexnet_features() -> list[nn.Layer]:
    """AlexNet's layers up to its last ReLU, in torchvision's order."""
    return [
        Conv2D(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2D(3, 2),
        Conv2D(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2D(3, 2),
        Conv2D(192, 384, 3, padding=1),
        nn.ReLU(),
        Conv2D(384, 256, 3, padding=1),
        nn.ReLU(),
        Conv2D(256, 256, 3, padding=1),
        nn.ReLU(),
    ]


def read_backbone(backbone: str, weights: str | Path | None, *, needed_by: str) -> dict[str, np.ndarray]:
    """Read the feature part of a torchvision weight file.

    Args:
        weights: the file; None looks at data/pretrained/<published name>.

    Returns:
        ``features.N.weight`` and ``features.N.bias`` -> arrays.

    Raises:
        ConfigError: there is no such file; says where to get it and where to put it.
        WeightError: the file has no such entries.
    """
    name = BACKBONE_FILES[backbone]
    path = Path("data/pretrained") / name if weights is None else Path(weights)
    if not path.is_file():
        raise ConfigError(
            f"{needed_by} needs the {backbone} weights '{name}', and there is no file {path}. Download it"
            f" from https://download.pytorch.org/models/{name} (listed on"
            f" https://pytorch.org/vision/stable/models.html), and put it at {path} or name its place in"
            f" `weights:`. {WITHOUT}"
        )
    state = {k: v for k, v in read_state(path).items() if k.startswith("features.")}
    if not state:
        raise WeightError(f"{path} has no entries 'features.*'; expected torchvision's {name}")
    return state


class VGGFeatureExtractor(nn.Layer):
    """RGB image (N, 3, H, W) in [0, 1] -> dict of feature maps, in the network's order. Frozen; gradients
    reach the image.

    "convB_I" is taken before its ReLU, "reluB_I" after it. The network is cut behind the last layer
    that is asked for.

    Args:
        layer_name_list: layers wanted, such as ["conv1_2", "conv5_4"].
        vgg_type: "vgg11", "vgg13", "vgg16" or "vgg19".
        use_input_norm: subtract ImageNet's mean and divide by its deviation.
        range_norm: images come in [-1, 1].
        remove_pooling: leave the pooling layers out.
    """

    def __init__(
        self,
        *,
        layer_name_list: Sequence[str],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        remove_pooling: bool = False,
        pooling_stride: int = 2,
    ) -> None:
        super().__init__()
        names = vgg_names(vgg_type)
        if not layer_name_list:
            raise ConfigError(f"no {vgg_type} layer is asked for; valid: {', '.join(names)}")
        usable = [n for n in names if not (remove_pooling and n.startswith("pool"))]
        for name in layer_name_list:
            if name not in usable:
                raise ConfigError(f"{vgg_type} has no layer '{name}' here; {did_you_mean(name, usable)}")
        self.layer_name_list = list(layer_name_list)
        self.vgg_type = vgg_type
        self.range_norm = range_norm
        depth = 1 + max(names.index(name) for name in layer_name_list)
        self.vgg_net = nn.Sequential()
        for name, layer in zip(names, vgg_features(vgg_type, depth, pooling_stride), strict=False):
            if name in usable:
                self.vgg_net.add_sublayer(name, layer)
        self.use_input_norm = use_input_norm
        if use_input_norm:
            self.register_buffer("mean", paddle.to_tensor(IMAGENET_MEAN).reshape([1, 3, 1, 1]))
            self.register_buffer("std", paddle.to_tensor(IMAGENET_STD).reshape([1, 3, 1, 1]))
        self.eval()
        for parameter in self.parameters():
            parameter.stop_gradient = True

    def load_torchvision(self, state: Mapping[str, np.ndarray]) -> None:
        """Take ``features.N.*`` of a torchvision state dict; deeper entries are ignored."""
        names = vgg_names(self.vgg_type)
        own = {"vgg_net." + k: v for k, v in rename_features(state, dict(enumerate(names))).items()}
        mine = self.state_dict()
        buffers = {k: v.numpy() for k, v in mine.items() if k in ("mean", "std")}
        load_state(self, {**buffers, **{k: v for k, v in own.items() if k in mine}})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - self.mean) / self.std
        features = {}
        for name, layer in self.vgg_net.named_children():
            x = layer(x)
            if name in self.layer_name_list:
                features[name] = x
        return features


def rename_features(state: Mapping[str, np.ndarray], names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """``features.<index>.weight`` -> ``<names[index]>.weight``; indices without a name are left out."""
    renamed = {}
    for key, value in state.items():
        prefix, index, kind = (*key.split("."), "", "")[:3]
        if prefix == "features" and index.isdigit() and int(index) in names:
            renamed[f"{names[int(index)]}.{kind}"] = value
    return renamed
