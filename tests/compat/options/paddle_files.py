"""Configurations in PaddleGAN's and PaddleDepth's format, written here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOAD = """
    preprocess:
      - name: LoadImageFromFile
        key: lq
      - name: LoadImageFromFile
        key: gt
      - name: Transforms
        input_keys: [lq, gt]
"""
FLIPS = ("PairedRandomHorizontalFlip", "PairedRandomVerticalFlip", "PairedRandomTransposeHW")


def _pipeline(size: int, scale: int, pyramid: bool, std: float, flips: tuple[str, ...]) -> str:
    keys = "[image, image, image]" if pyramid else "[image, image]"
    text = "        output_keys: [lq, lqx2, gt]\n" if pyramid else ""
    text += "        pipeline:\n"
    if size:
        text += f"          - name: SRPairedRandomCrop\n            gt_patch_size: {size}\n"
        text += f"            scale: {scale}\n            keys: [image, image]\n"
        text += "            scale_list: True\n" if pyramid else ""
        text += "".join(f"          - name: {flip}\n            keys: {keys}\n" for flip in flips)
    text += f"          - name: Transpose\n            keys: {keys}\n"
    return text + (
        "          - name: Normalize\n            mean: [0., .0, 0.]\n"
        f"            std: [{std}, {std}, {std}]\n            keys: {keys}\n"
    )


def config(
    model: str,
    generator: Mapping[str, Any],
    *,
    total: int,
    size: int,
    batch: int,
    folders: tuple[str, str, str, str] = ("HR", "LR", "test_HR", "test_LR"),
    scale: int = 4,
    depth: bool = False,
    std: float = 1.0,
    rate: float = 0.0001,
    beta2: float = 0.999,
    workers: int = 4,
    flips: tuple[str, ...] = FLIPS,
    criterion: str = "",
    optimizer_extra: str = "",
) -> str:
    """A file of SR with a cosine schedule over the whole run."""
    duals = model == "DRN"
    text = f"total_iters: {total}\noutput_dir: output_dir\n# range of tensor2img\nmin_max:\n  (0., 255.)\n"
    text += f"model:\n  name: {model}\n  generator:\n"
    text += "".join(f"    {key}: {value}\n" for key, value in generator.items())
    text += criterion or "  pixel_criterion:\n    name: L1Loss\n"
    text += (
        f"dataset:\n  train:\n    name: SRDataset\n    gt_folder: {folders[0]}\n    lq_folder: {folders[1]}\n"
    )
    text += f"    num_workers: {workers}\n    batch_size: {batch}\n    scale: {scale}{LOAD}"
    text += _pipeline(size, scale, duals, std, flips)
    text += f"  test:\n    name: SRDataset\n    gt_folder: {folders[2]}\n    lq_folder: {folders[3]}\n"
    text += f"    scale: {scale}{LOAD}" + _pipeline(0, scale, False, std, ())
    text += (
        f"lr_scheduler:\n  name: CosineAnnealingRestartLR\n  learning_rate: {rate}\n  periods: [{total}]\n"
    )
    text += "  restart_weights: [1]\n  eta_min: !!float 1e-7\noptimizer:\n"
    if duals:
        for name, nets in (("optimG", ["generator"]), ("optimD", ["dual_model_0", "dual_model_1"])):
            text += f"  {name}:\n    name: Adam\n    net_names:\n"
            text += "".join(f"      - {net}\n" for net in nets)
            text += f"    weight_decay: 0.0\n    beta1: 0.9\n    beta2: {beta2}\n"
    else:
        text += (
            f"  name: Adam\n  net_names:\n    - generator\n  beta1: 0.9\n  beta2: {beta2}\n{optimizer_extra}"
        )
    text += "validate:\n  interval: 1000\n  save_img: false\n  metrics:\n"
    for key, name in (("psnr", "PSNR"), ("ssim", "SSIM")):
        text += f"    {key}:\n      name: {name}\n      crop_border: {scale}\n      test_y_channel: True\n"
    for name in ("RMSE", "MAD", "PE") if depth else ():
        text += f"    {name.lower()}:\n      name: {name}\n      crop_border: 4\n"
    return (
        text + "log_config:\n  interval: 100\n  visiual_interval: 500\nsnapshot_config:\n  interval: 5000\n"
    )


def drn_generator(**sizes: Any) -> dict[str, Any]:
    usual = {"name": "DRNGenerator", "scale": "(2, 4)", "n_blocks": 30, "n_feats": 16, "n_colors": 3}
    return {**usual, "rgb_range": 255, "negval": 0.2, **sizes}
