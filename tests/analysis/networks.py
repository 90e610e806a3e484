"""A tiny network on disk, as users have theirs."""

from pathlib import Path

import paddle
import yaml

from ppsr.registry import build_generator
from ppsr.weights.pdparams import dump_state


def write_network(folder: Path, *, seed: int = 0, **changes) -> tuple[Path, Path]:
    """Write a config and a weight file of an MSRResNet x2, and return their paths."""
    options = {"num_feat": 6, "num_block": 2, "upscale": 2, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    generator = {"name": "MSRResNet", **options}
    config = {"model": {"name": "SRModel", "generator": generator, "pixel_criterion": {"name": "L1Loss"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    paddle.seed(seed)
    net = build_generator("MSRResNet", **options)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    (folder / "weights.pdparams").write_bytes(dump_state(state))
    return folder / "config.yaml", folder / "weights.pdparams"
