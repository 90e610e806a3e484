"""A small network of no registered class, and exports that were changed."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.files import sha256


class Doubling(nn.Layer):
    """Two convolutions with an activation between them, then x2."""

    scale = 2

    def __init__(self, activation: nn.Layer | None = None) -> None:
        super().__init__()
        paddle.seed(0)
        self.first = nn.Conv2D(3, 8, 3, padding=1)
        self.activation = activation or nn.ReLU()
        self.last = nn.Conv2D(8, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.last(self.activation(self.first(x))), 2)


def altered(prefix: Path, contents: Mapping[str, bytes], folder: Path | None = None, **entries) -> Path:
    """An export with other files, by suffix, whose digests fit, and other entries; in a folder: a copy."""
    if folder is not None:
        for path in prefix.parent.glob(f"{prefix.name}.*"):
            shutil.copy(path, folder / path.name)
        prefix = folder / prefix.name
    info = prefix.with_name(f"{prefix.name}.info.json")
    found = json.loads(info.read_text())
    if ".pdmodel" in contents:  # which a .json would precede
        found["files"].pop(".json", None)
    for suffix, content in contents.items():
        path = prefix.with_name(prefix.name + suffix)
        path.write_bytes(content)
        found["files"][suffix] = sha256(path)
    info.write_text(json.dumps({**found, **entries}))
    return prefix
