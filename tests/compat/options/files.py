"""Option files of the published projects: those of `data`, with other values at dotted keys.

Keys, spelling and types are those of the released files.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Options = dict[str, Any]

DATA = Path(__file__).parent / "data"
LATE = [125_000, 200_000, 225_000, 240_000]
# learning rate, steps, milestones, steps between two validations
STAGES = {
    "scratch": (2e-4, 500_000, [250_000, 400_000, 450_000, 475_000], 5e3),
    "imagenet": (2e-4, 800_000, [300_000, 500_000, 650_000, 700_000, 750_000], 1e4),
    "finetune": (1e-5, 250_000, LATE, 5e3),
    "from_x2": (1e-4, 250_000, LATE, 5e3),
}
# images up to 255 in PaddleGAN's files
STD_255 = {
    f"dataset.{place}.std": [255.0] * 3
    for place in ("train.preprocess.2.pipeline.5", "test.preprocess.2.pipeline.1")
}


def changed(options: Options, values: Mapping[str, Any]) -> Options:
    """A copy with other values at dotted keys; a number is a place in a list."""
    result = copy.deepcopy(options)
    for key, value in values.items():
        *sections, last = key.split(".")
        node: Any = result
        for section in sections:
            node = node[int(section)] if isinstance(node, list) else node.setdefault(section, {})
        node[last] = value
    return result


def read(name: str, values: Mapping[str, Any] | None = None) -> Options:
    return changed(yaml.safe_load((DATA / f"{name}.yml").read_text(encoding="utf-8")), values or {})


def transformer_train(
    net: str,
    scale: int,
    stage: str,
    *,
    groups: int = 6,
    load: str | None = None,
    every: float = 0,
    sizes: Mapping[str, Any] | None = None,
) -> Options:
    """DRCT's and HAT's files of all stages; `sizes` are of the network."""
    rate, total, milestones, usual = STAGES[stage]
    network = {"type": net, "upscale": scale, "depths": [6] * groups, "num_heads": [6] * groups}
    values = {
        "name": f"train_{net}_SRx{scale}_{stage}",
        "model_type": f"{net}Model",
        "scale": scale,
        "datasets.train.gt_size": 64 * scale,
        **{f"network_g.{key}": value for key, value in {**network, **(sizes or {})}.items()},
        "path.pretrain_network_g": load,
        "path.strict_load_g": stage != "from_x2",
        "train.optim_g.lr": rate,
        "train.scheduler.milestones": milestones,
        "train.total_iter": total,
        "val.val_freq": every or usual,
        "logger.save_checkpoint_freq": every or usual,
        **{f"val.metrics.{metric}.crop_border": scale for metric in ("psnr", "ssim")},
    }
    options = read("transformer_train", values)
    if stage == "imagenet":
        options["datasets"]["train"]["type"] = "ImageNetPairedDataset"
        del options["datasets"]["train"]["dataroot_lq"]
    return options


def real_train(net: str, *, gan: bool, load: str | None = None) -> Options:
    """Real-DRCT's and Real-HAT's files of both stages."""
    kind = "GAN" if gan else "MSE"
    names = {"name": f"train_Real_{net}_{kind}", "model_type": f"Real{net}{kind}Model", "network_g.type": net}
    return read(f"real_{kind.lower()}", {**names, "path.pretrain_network_g": load})


def reflash_train(kind: str, **values: Any) -> Options:
    """Reflash Dropout's files, and Simple-Align's by `name` and `weight`."""
    options = read("reflash_train", {"network_g.type": kind, **values})
    if kind.startswith("RRDB"):
        del options["network_g"]["upscale"]
        options["network_g"] |= {"num_block": 23, "num_grow_ch": 32}
    return options


def dasr_train(*, cddnet: bool) -> Options:
    options = read("dasr_train")
    if cddnet:
        loss = {"type": "CharbonnierLoss", "loss_weight": 1.0, "reduction": "mean"}
        losses = ("pixel_opt", "cycle_opt", "regress_opt", "artifacts_opt")
        options["train"] |= {name: dict(loss) for name in losses}
    return options
