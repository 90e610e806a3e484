"""A config shrunk so that it runs in a second: networks to their `test_args`, data to generated images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.config import load_config
from ppsr.config.loader import Config
from ppsr.generators.blocks import Conv2D  # noqa: F401 - fills the registries
from ppsr.imaging import write_image
from ppsr.registry import DISCRIMINATORS, GENERATORS
from ppsr.weights import write_state
from ppsr.weights.catalogue import entries

CONFIGS = Path(__file__).parents[1] / "configs"
# what may be smaller in a test; every other argument is a choice of the recipe and stays
SIZES = {
    *("num_feat", "num_block", "num_grow_ch", "num_models", "nf", "num_networks", "n_feats", "n_blocks"),
    *("n_resgroups", "n_resblocks", "img_size", "window_size", "embed_dim", "depths", "num_heads", "gc"),
    *("compress_ratio", "squeeze_factor", "d_state", "expand", "mamba_blocks", "num_modules", "d", "s", "m"),
}
SMALL = {"ESPCN"}  # without sizes
FOLDERS = {"gt_folder", "lq_folder", "unpaired_folder"}
SIDE, TEST_SIDE = 96, 64
LR_SIDE = 8


class UnknownConfigError(AssertionError):
    """A config uses something that this module does not know how to shrink."""


def shrunk(path: Path, data: Path) -> Config:
    """The config with small networks, one step, and every file that it names made below `data`."""
    config = load_config(path)
    shrink_networks(config["model"])
    for split, side in (("train", SIDE), ("test", TEST_SIDE)):
        if split in config["dataset"]:
            _shrink_dataset(config["dataset"][split], data / f"{split}{side}", side)
    perceptual = config["model"].get("perceptual_criterion")
    if perceptual is not None:
        perceptual |= {"layer_weights": {"conv1_2": 0.1}, "weights": str(_vgg(data / "vgg19.pdparams"))}
    for net, stage in config.get("load", {}).items():
        stage["path"] = str(_stage(config["model"][net], Path(stage["path"]).stem, data))
    # SOAP changes nothing in its first step
    config["total_iters"] = 2 if "SOAP" in str(config["optimizer"]) else 1
    config["output_dir"] = str(data / "output")
    if config["lr_scheduler"].get("warmup_iters"):
        config["lr_scheduler"]["warmup_iters"] = 0  # the first rate of a warm-up is 0: nothing would move
    config["validate"]["interval"] = 3  # once, at the end
    return config


def shrink_networks(section: dict[str, Any]) -> None:
    """Give the networks of a model section the sizes of their `test_args`, in place."""
    for value in section.values():
        if isinstance(value, dict) and (
            value.get("name") in GENERATORS or value.get("name") in DISCRIMINATORS
        ):
            registry = GENERATORS if value["name"] in GENERATORS else DISCRIMINATORS
            small = getattr(registry.get(value["name"]), "test_args", {})
            if value["name"] not in SMALL and not set(small) & SIZES:
                raise UnknownConfigError(f"{value['name']} has no sizes in its test_args")
            keep = ("num_block",) if _names_a_block(value.get("dropout")) else ()
            value |= {key: small[key] for key in SIZES if key in small and key not in keep}


def _names_a_block(dropout: Mapping[str, Any] | None) -> bool:
    return any(name.startswith("b") for name in (dropout or {}).get("positions", ()))


def _shrink_dataset(section: dict[str, Any], folder: Path, side: int) -> None:
    scale = section.get("scale", 1)
    channels = 1 if section["name"] == "DepthDataset" else 3
    section.pop("filename_tmpl", None)  # the images made here have the same names in all folders
    hr = _images(folder / f"hr{channels}", side, channels)
    for key, value in section.items():
        if key == "gt_folder":
            section[key] = str(hr)
        elif key in FOLDERS:
            section[key] = str(_images(folder / f"lr{channels}_x{scale}", side // scale, channels))
        elif key == "meta_info" and value is not None:
            section[key] = str(_meta_info(hr))
        elif key.endswith("_folder") or key.endswith("_folders"):
            raise UnknownConfigError(f"{section['name']}.{key} = {value!r}: say how to make it")
    if section.get("gt_size"):
        section["gt_size"] = LR_SIDE * scale
    if "crop_pad_size" in section:
        section["crop_pad_size"] = SIDE
    if "batch_size" in section:
        section |= {"batch_size": 2, "num_workers": 0}
    if section.get("queue_size"):
        section["queue_size"] = 4


def _images(folder: Path, side: int, channels: int, count: int = 2) -> Path:
    """Blocks of random colours, always the same."""
    rng = np.random.default_rng(side)
    for index in range(count):
        blocks = rng.random((side // 4 + 1, side // 4 + 1, channels))
        image = np.kron(blocks, np.ones((4, 4, 1)))[:side, :side].astype(np.float32)
        if not (folder / f"{index}.png").exists():
            write_image(folder / f"{index}.png", image[..., 0] if channels == 1 else image)
    return folder


def _meta_info(folder: Path) -> Path:
    path = folder.with_suffix(".txt")
    lines = [f"{file.name} ({SIDE},{SIDE},3)\n" for file in sorted(folder.glob("*.png"))]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _vgg(path: Path) -> Path:
    """The first two convolutions of VGG19, with random weights."""
    rng = np.random.default_rng(0)
    shapes: Mapping[int, tuple[int, ...]] = {0: (64, 3, 3, 3), 2: (64, 64, 3, 3)}
    state = {f"features.{i}.weight": rng.normal(0, 0.05, s).astype(np.float32) for i, s in shapes.items()}
    state |= {f"features.{i}.bias": np.zeros(s[0], np.float32) for i, s in shapes.items()}
    if not path.exists():
        write_state(path, state)
    return path


def _stage(generator: Mapping[str, Any], stem: str, data: Path) -> Path:
    """Weights as the earlier stage leaves them: of the config of that name, or of the same network at x2."""
    if (CONFIGS / f"{stem}.yaml").exists():
        earlier = load_config(CONFIGS / f"{stem}.yaml")["model"]
        shrink_networks(earlier)
        options = earlier["generator"]
    elif stem.endswith("_X2_DIV2K"):
        options = {**generator, "scale": 2}
    elif stem in {entry.name for entry in entries()}:  # published weights of the same shapes
        options = dict(generator)
    else:
        raise UnknownConfigError(f"no config is called {stem}, whose weights are loaded")
    path = data / f"{stem}.pdparams"
    net = GENERATORS.build(options)
    write_state(path, {key: value.numpy() for key, value in net.state_dict().items()})
    return path
