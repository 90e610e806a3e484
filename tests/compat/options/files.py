"""Option files in the published formats, written here: the published values, as nested dictionaries.

Keys, spelling and types are those of the released files. `changed` replaces single values by dotted keys.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Options = dict[str, Any]

LOADER = {"use_shuffle": True, "dataset_enlarge_ratio": 1, "prefetch_mode": None}
DISK = {"io_backend": {"type": "disk"}}
KERNELS = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
PARTS = yaml.safe_load(Path(__file__).with_name("parts.yaml").read_text(encoding="utf-8"))
ADAM, RANGES, LEVELS, GAN = (PARTS[name] for name in ("adam", "ranges", "levels", "gan"))
ATTENTION = {"compress_ratio": 3, "squeeze_factor": 30, "conv_scale": 0.01, "overlap_ratio": 0.5}


def changed(options: Options, values: Mapping[str, Any]) -> Options:
    """A copy with other values at dotted keys."""
    result = copy.deepcopy(options)
    for key, value in values.items():
        *sections, last = key.split(".")
        node = result
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    return result


def _blur(suffix: str, sigma: list[float], kernels: list[str], shares: list[float], sinc: float) -> Options:
    return {
        f"blur_kernel_size{suffix}": 21,
        f"kernel_list{suffix}": kernels,
        f"kernel_prob{suffix}": shares,
        f"sinc_prob{suffix}": sinc,
        f"blur_sigma{suffix}": sigma,
        f"betag_range{suffix}": [0.5, 4],
        f"betap_range{suffix}": [1, 2],
    }


def _second_order_blur() -> Options:
    shares = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    first, second = ((("", [0.2, 3])), ("2", [0.2, 1.5]))
    return {
        **_blur(*first, KERNELS, shares, 0.1),
        **_blur(*second, KERNELS, shares, 0.1),
        "final_sinc_prob": 0.8,
    }


def _level_blur() -> Options:
    blur: Options = {"final_sinc_prob": 0.8}
    sigmas = {"_weak1": [0.2, 0.8], "_standard1": [0.2, 1.5], "": [0.2, 3], "2": [0.2, 1.5]}
    for suffix, sigma in sigmas.items():
        smallest = "blur_kernel_size2_minimum" if suffix == "2" else f"blur_kernel_size_minimum{suffix}"
        blur |= {smallest: 7, **_blur(suffix, sigma, ["iso", "aniso"], [0.65, 0.35], 0)}
    return blur


def _head(name: str, model: str, scale: int) -> Options:
    return {"name": name, "model_type": model, "scale": scale, "num_gpu": "auto", "manual_seed": 0}


def pairs(name: str, gt: str, lq: str) -> Options:
    return {"name": name, "type": "PairedImageDataset", "dataroot_gt": gt, "dataroot_lq": lq, **DISK}


def metrics(border: int, *, y: bool = True) -> Options:
    psnr = {"type": "calculate_psnr", "crop_border": border, "test_y_channel": y}
    return {"psnr": psnr, **({"ssim": {**psnr, "type": "calculate_ssim", "better": "higher"}} if y else {})}


def _path(load: str | None, *, strict: bool = True) -> Options:
    return {
        "pretrain_network_g": load,
        "param_key_g": "params_ema",
        "strict_load_g": strict,
        "resume_state": None,
    }


def _training(rate: float, total: int, schedule: Options, *, pixel: str = "L1Loss", **more: Any) -> Options:
    return {
        "ema_decay": 0.999,
        "optim_g": {**ADAM, "lr": rate},
        "scheduler": schedule,
        "total_iter": total,
        "warmup_iter": -1,
        "pixel_opt": {"type": pixel, "loss_weight": 1.0, "reduction": "mean"},
        **more,
    }


def _steps(milestones: list[int], gamma: float = 0.5) -> Options:
    return {"type": "MultiStepLR", "milestones": milestones, "gamma": gamma}


def _end(every: float, *, save: bool = False, measured: Options | None = None) -> Options:
    val = {"val_freq": every, "save_img": save, "pbar": False}
    return {
        "val": {**val, "metrics": measured} if measured else val,
        "logger": {
            "print_freq": 100,
            "save_checkpoint_freq": every,
            "use_tb_logger": True,
            "wandb": {"project": None},
        },
        "dist_params": {"backend": "nccl", "port": 29500},
    }


# DRCT, HAT, SwinIR ------------------------------------------------------------------------------------------


def transformer(net: str, scale: int, *, groups: int = 6, **sizes: Any) -> Options:
    """The section network_g; `sizes` change single entries."""
    return {
        "type": net,
        "upscale": scale,
        "in_chans": 3,
        "img_size": 64,
        "window_size": 16,
        **({} if net == "SwinIR" else ATTENTION),
        "img_range": 1.0,
        "depths": [6] * groups,
        "embed_dim": 180,
        "num_heads": [6] * groups,
        "mlp_ratio": 2,
        "upsampler": "pixelshuffle",
        "resi_connection": "1conv",
        **sizes,
    }


def transformer_train(
    net: str,
    scale: int,
    stage: str,
    *,
    load: str | None = None,
    strict: bool = True,
    every: float = 0,
    **sizes: Any,
) -> Options:
    usual = PARTS["stages"][stage]
    train = pairs("DF2K", "datasets/DF2K/HR", "datasets/DF2K/LR")
    if stage == "imagenet":
        train["type"] = "ImageNetPairedDataset"
        del train["dataroot_lq"]
    train |= {"gt_size": 64 * scale, "use_hflip": True, "use_rot": True, **LOADER}
    train |= {"num_worker_per_gpu": 6, "batch_size_per_gpu": 4}
    sets = {"val_1": pairs("Set5", "Set5/GT", "Set5/LR"), "val_2": pairs("Set14", "Set14/GT", "Set14/LR")}
    return {
        **_head(f"train_{net}_SRx{scale}_{stage}", f"{net}Model", scale),
        "datasets": {"train": train, **sets},
        "network_g": transformer(net, scale, **sizes),
        "path": _path(load, strict=strict),
        "train": _training(usual["lr"], usual["total"], _steps(usual["milestones"])),
        **_end(every or usual["every"], measured=metrics(scale)),
    }


def transformer_test(net: str, scale: int, weights: str, gt: str, lq: str, **sizes: Any) -> Options:
    return {
        **_head(f"{net}_SRx{scale}", f"{net}Model", scale),
        "tile": {"tile_size": 512, "tile_pad": 32},
        "datasets": {"test_1": pairs("Set5", gt, lq)},
        "network_g": transformer(net, scale, **sizes),
        "path": _path(weights),
        "val": {"save_img": True, "suffix": None, "metrics": metrics(scale)},
    }


def real_train(net: str, *, gan: bool, load: str | None = None) -> Options:
    """Real-DRCT's and Real-HAT's files of both stages."""
    kind, total = ("GAN", 400_000) if gan else ("MSE", 1_000_000)
    usm = {"l1_gt_usm": True, "percep_gt_usm": True, "gan_gt_usm": False} if gan else {"gt_usm": True}
    train = {"name": "DF2K+OST", "type": "RealESRGANDataset", "dataroot_gt": "datasets/DFO/DFO_sub"}
    train |= {"meta_info_file": "data/meta_info_DFOsub_GT.txt", **DISK, **_second_order_blur(), **LOADER}
    train |= {"gt_size": 256, "use_hflip": True, "use_rot": False}
    more = {"optim_d": {**ADAM, "lr": 1e-4}, **GAN} if gan else {}
    return {
        **_head(f"train_Real_{net}_{kind}", f"Real{net}{kind}Model", 4),
        **usm,
        **RANGES,
        "gt_size": 256,
        "queue_size": 180,
        "datasets": {"train": {**train, "num_worker_per_gpu": 5, "batch_size_per_gpu": 4}},
        "network_g": transformer(net, 4),
        **({"network_d": PARTS["discriminator"]} if gan else {}),
        "path": _path(load),
        "train": _training(1e-4, total, _steps([total]), **more),
        "logger": {"print_freq": 200, "save_checkpoint_freq": 1e4, "use_tb_logger": True},
    }


# Reflash Dropout, Simple-Align ------------------------------------------------------------------------------


def _resnet(kind: str) -> Options:
    blocks = (
        {"num_block": 23, "num_grow_ch": 32} if kind.startswith("RRDB") else {"num_block": 16, "upscale": 4}
    )
    return {"type": kind, "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, **blocks}


def reflash_train(kind: str, *, name: str = "train_RealSRResNetx4", weight: float | None = None) -> Options:
    train = {"name": "DIV2K", "type": "RealESRGANDataset", "dataroot_gt": "DIV2K_sub", **DISK, **LOADER}
    train |= {**_second_order_blur(), "gt_size": 128, "use_hflip": True, "use_rot": False}
    train |= {"num_worker_per_gpu": 2, "batch_size_per_gpu": 8}
    cosine = {"type": "CosineAnnealingRestartLR", "periods": [250_000, 500_000], "restart_weights": [1, 1]}
    return {
        **_head(name, "RealESRNetModel", 4),
        **({} if weight is None else {"weight": weight}),
        "network_g": _resnet(kind),
        "gt_usm": True,
        **RANGES,
        "gt_size": 128,
        "queue_size": 16,
        "datasets": {"train": train, "val": pairs("validation", "Set5/HR", "Set5/LR")},
        "path": _path(None),
        "train": _training(2e-4, 500_000, cosine),
        **_end(5e3, save=True, measured=metrics(4, y=False)),
    }


def reflash_test(kind: str, weights: str, sets: Mapping[str, tuple[str, str]]) -> Options:
    return {
        **_head("test_Real_SRResNetx4", "SRModel", 4),
        "network_g": _resnet(kind),
        "path": _path(weights),
        "val": {"save_img": True, "suffix": None, "metrics": metrics(4, y=False)},
        "datasets": {f"test_{i:02d}": pairs(name, *sets[name]) for i, name in enumerate(sets, 1)},
    }


# DASR, CDDNet -----------------------------------------------------------------------------------------------


def dasr_train(*, cddnet: bool) -> Options:
    pixel = "CharbonnierLoss" if cddnet else "L1Loss"
    losses = ("cycle_opt", "regress_opt", *(["artifacts_opt"] if cddnet else []))
    more = {name: {"type": pixel, "loss_weight": 1.0, "reduction": "mean"} for name in losses}
    train = {"name": "DF2K+OST", "type": "DASRDataset", "dataroot_gt": "datasets/DF2K", **DISK, **LOADER}
    train |= {**_level_blur(), "gt_size": 256, "use_hflip": True, "use_rot": False}
    net_g = {"type": "MSRResNetDynamic", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16}
    net_p = {"type": "Degradation_Predictor", "in_nc": 3, "nf": 64, "num_params": 33, "num_networks": 5}
    return {
        **_head("train_DASR", "DASRModel", 4),
        "num_networks": 5,
        "l1_gt_usm": True,
        "percep_gt_usm": True,
        "gan_gt_usm": False,
        **LEVELS,
        **RANGES,
        "gt_size": 256,
        "queue_size": 192,
        "datasets": {"train": {**train, "num_worker_per_gpu": 6, "batch_size_per_gpu": 6}},
        "network_g": {**net_g, "num_models": 5, "upscale": 4},
        "network_p": net_p,
        "network_d": PARTS["discriminator"],
        "path": {**_path(None), "pretrain_network_p": None},
        "train": _training(
            1e-4, 500_000, _steps([500_000], 1), pixel=pixel, optim_d={**ADAM, "lr": 1e-4}, **more, **GAN
        ),
        **_end(5e3, save=True),
    }
