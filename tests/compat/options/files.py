"""Option files in the published formats, written here: the published values, or tiny networks.

Keys, spelling and types are those of the released files; comments and layout are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRAIN_END = """
val:
  val_freq: !!float {every}
  save_img: {save}
  pbar: False
{metrics}
logger:
  print_freq: {log}
  save_checkpoint_freq: !!float {every}
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""
METRICS = """
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: {border}
      test_y_channel: {y}
"""
SSIM = """
    ssim:
      type: calculate_ssim
      crop_border: {border}
      test_y_channel: {y}
      better: higher  # default
"""
PAIRS = """
  {key}:
    name: {name}
    type: PairedImageDataset
    dataroot_gt: {gt}
    dataroot_lq: {lq}
    io_backend:
      type: disk
"""
LOADER = """
    use_shuffle: true
    num_worker_per_gpu: {workers}
    batch_size_per_gpu: {batch}
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
"""
PERCEPTUAL = """
  perceptual_opt:
    type: PerceptualLoss
    layer_weights:
      {layers}
    vgg_type: {vgg}
    use_input_norm: true
    perceptual_weight: !!float 1.0
    style_weight: 0
    range_norm: false
    criterion: l1
  gan_opt:
    type: GANLoss
    gan_type: vanilla
    real_label_val: 1.0
    fake_label_val: 0.0
    loss_weight: !!float 1e-1
  net_d_iters: 1
  net_d_init_iters: 0
"""
SECOND_ORDER = """
resize_prob: [0.2, 0.7, 0.1]  # up, down, keep
resize_range: [0.15, 1.5]
gaussian_noise_prob: 0.5
noise_range: [1, 30]
poisson_scale_range: [0.05, 3]
gray_noise_prob: 0.4
jpeg_range: [30, 95]
second_blur_prob: 0.8
resize_prob2: [0.3, 0.4, 0.3]
resize_range2: [0.3, 1.2]
gaussian_noise_prob2: 0.5
noise_range2: [1, 25]
poisson_scale_range2: [0.05, 2.5]
gray_noise_prob2: 0.4
jpeg_range2: [30, 95]
"""
KERNELS = "['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']"
SHARES = "[0.45, 0.25, 0.12, 0.03, 0.12, 0.03]"
SECOND_ORDER_BLUR = f"""
    blur_kernel_size: 21
    kernel_list: {KERNELS}
    kernel_prob: {SHARES}
    sinc_prob: 0.1
    blur_sigma: [0.2, 3]
    betag_range: [0.5, 4]
    betap_range: [1, 2]
    blur_kernel_size2: 21
    kernel_list2: {KERNELS}
    kernel_prob2: {SHARES}
    sinc_prob2: 0.1
    blur_sigma2: [0.2, 1.5]
    betag_range2: [0.5, 4]
    betap_range2: [1, 2]
    final_sinc_prob: 0.8
"""
VGG19 = "'conv1_2': 0.1\n      'conv2_2': 0.1\n      'conv3_4': 1\n      'conv4_4': 1\n      'conv5_4': 1"


def section(name: str, entries: Mapping[str, Any]) -> str:
    """A section of single values and short lists, as the files write them."""
    return f"{name}:\n" + "".join(f"  {key}: {value}\n" for key, value in entries.items())


def optimizer(name: str, rate: str) -> str:
    return f"""
  {name}:
    type: Adam
    lr: !!float {rate}
    weight_decay: 0
    betas: [0.9, 0.99]
"""


def training(
    *,
    rate: str,
    total: int,
    schedule: str,
    gan: bool = False,
    losses: str = "",
    layers: str = VGG19,
    vgg: str = "vgg19",
    pixel: str = "L1Loss",
) -> str:
    text = "train:\n  ema_decay: 0.999\n" + optimizer("optim_g", rate)
    text += optimizer("optim_d", rate) if gan else ""
    text += f"\n  scheduler:\n    {schedule}\n  total_iter: {total}\n  warmup_iter: -1  # none\n"
    text += f"\n  pixel_opt:\n    type: {pixel}\n    loss_weight: 1.0\n    reduction: mean\n{losses}"
    return text + (PERCEPTUAL.format(layers=layers, vgg=vgg) if gan else "")


def steps(milestones: list[int], gamma: float = 0.5) -> str:
    return f"type: MultiStepLR\n    milestones: {milestones}\n    gamma: {gamma}"


def metrics(border: int, y: bool = True, ssim: bool = True) -> str:
    return (METRICS + (SSIM if ssim else "")).format(border=border, y=str(y).lower())


# DRCT, HAT, SwinIR ------------------------------------------------------------------------------------------

STAGES = {
    "scratch": ("2e-4", 500_000, [250_000, 400_000, 450_000, 475_000], "5e3"),
    "imagenet": ("2e-4", 800_000, [300_000, 500_000, 650_000, 700_000, 750_000], "1e4"),
    "finetune": ("1e-5", 250_000, [125_000, 200_000, 225_000, 240_000], "5e3"),
    "from_x2": ("1e-4", 250_000, [125_000, 200_000, 225_000, 240_000], "5e3"),
}


def transformer(net: str, scale: int, *, groups: int = 6, **sizes: Any) -> str:
    """The section network_g; `sizes` change single entries."""
    entries = {
        "type": net,
        "upscale": scale,
        "in_chans": 3,
        "img_size": 64,
        "window_size": 16,
        "compress_ratio": 3,
        "squeeze_factor": 30,
        "conv_scale": 0.01,
        "overlap_ratio": 0.5,
        "img_range": "1.",
        "depths": [6] * groups,
        "embed_dim": 180,
        "num_heads": [6] * groups,
        "mlp_ratio": 2,
        "upsampler": "'pixelshuffle'",
        "resi_connection": "'1conv'",
    }
    if net == "SwinIR":
        for key in ("compress_ratio", "squeeze_factor", "conv_scale", "overlap_ratio"):
            del entries[key]
    return section("network_g", {**entries, **sizes})


def transformer_train(
    net: str,
    scale: int,
    stage: str,
    *,
    groups: int = 6,
    folders: tuple[str, str, str, str] = ("datasets/DF2K/HR", "datasets/DF2K/LR", "Set5/GT", "Set5/LR"),
    load: str = "~",
    strict: bool = True,
    every: str = "",
    patch: int = 64,
    batch: int = 4,
    workers: int = 6,
    **sizes: Any,
) -> str:
    rate, total, milestones, usual = STAGES[stage]
    data = "ImageNetPairedDataset" if stage == "imagenet" else "PairedImageDataset"
    gt, lq, val_gt, val_lq = folders
    text = f"name: train_{net}_SRx{scale}_{stage}\nmodel_type: {net}Model\nscale: {scale}\n"
    text += f"num_gpu: auto\nmanual_seed: 0\ndatasets:\n  train:\n    name: DF2K\n    type: {data}\n"
    text += f"    dataroot_gt: {gt}\n" + ("" if stage == "imagenet" else f"    dataroot_lq: {lq}\n")
    text += f"    io_backend:\n      type: disk\n    gt_size: {patch * scale}\n"
    text += "    use_hflip: true\n    use_rot: true\n"
    text += LOADER.format(workers=workers, batch=batch)
    text += PAIRS.format(key="val_1", name="Set5", gt=val_gt, lq=val_lq)
    text += PAIRS.format(key="val_2", name="Set14", gt="Set14/GT", lq="Set14/LR")
    text += transformer(net, scale, groups=groups, **sizes)
    text += section(
        "path", {"pretrain_network_g": load, "strict_load_g": str(strict).lower(), "resume_state": "~"}
    )
    text += training(rate=rate, total=total, schedule=steps(milestones))
    return text + TRAIN_END.format(every=every or usual, save="false", log=100, metrics=metrics(scale))


def transformer_test(
    net: str, scale: int, weights: str, *, gt: str = "", lq: str = "Set5/LR", tile: bool = False, **sizes: Any
) -> str:
    text = f"name: {net}_SRx{scale}\nmodel_type: {net}Model\nscale: {scale}\nnum_gpu: 1\nmanual_seed: 0\n"
    text += "tile:\n  tile_size: 512\n  tile_pad: 32\n" if tile else ""
    text += "datasets:\n"
    if gt:
        text += PAIRS.format(key="test_1", name="Set5", gt=gt, lq=lq)
    else:
        text += f"  test_1:\n    name: custom\n    type: SingleImageDataset\n    dataroot_lq: {lq}\n"
    text += transformer(net, scale, **sizes)
    text += section(
        "path", {"pretrain_network_g": weights, "strict_load_g": "true", "param_key_g": "'params_ema'"}
    )
    return text + "val:\n  save_img: true\n  suffix: ~\n" + (metrics(scale) if gt else "")


def real_train(
    net: str,
    *,
    gan: bool,
    gt: str = "datasets/DFO/DFO_sub",
    scale: int = 4,
    gt_size: int = 256,
    batch: int = 4,
    queue: int = 180,
    workers: int = 5,
    load: str = "~",
    feat: int = 64,
    layers: str = VGG19,
    vgg: str = "vgg19",
    **sizes: Any,
) -> str:
    """Real-DRCT's and Real-HAT's files of both stages."""
    kind = "GAN" if gan else "MSE"
    total = 400_000 if gan else 1_000_000
    text = f"name: train_Real_{net}_{kind}\nmodel_type: Real{net}{kind}Model\nscale: {scale}\n"
    text += "num_gpu: auto\nmanual_seed: 0\n"
    text += "l1_gt_usm: True\npercep_gt_usm: True\ngan_gt_usm: False\n" if gan else "gt_usm: True  # USM\n"
    text += SECOND_ORDER + f"gt_size: {gt_size}\nqueue_size: {queue}\n"
    text += f"datasets:\n  train:\n    name: DF2K+OST\n    type: RealESRGANDataset\n    dataroot_gt: {gt}\n"
    text += "    meta_info_file: data/meta_info/meta_info_DFOsub_GT.txt\n    io_backend:\n      type: disk\n"
    text += SECOND_ORDER_BLUR + f"    gt_size: {gt_size}\n    use_hflip: True\n    use_rot: False\n"
    text += LOADER.format(workers=workers, batch=batch) + transformer(net, scale, **sizes)
    discriminator = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": feat, "skip_connection": True}
    text += section("network_d", discriminator) if gan else ""
    path = {"pretrain_network_g": load, "param_key_g": "params_ema", "strict_load_g": "true"}
    text += section("path", {**path, "resume_state": "~"})
    text += training(rate="1e-4", total=total, schedule=steps([total]), gan=gan, layers=layers, vgg=vgg)
    return text + "logger:\n  print_freq: 200\n  save_checkpoint_freq: !!float 1e4\n  use_tb_logger: true\n"


# Reflash Dropout, Simple-Align -----------------------------------------------------------------------------


def resnet(kind: str, scale: int, **sizes: Any) -> str:
    entries: dict[str, Any] = {"type": kind, "num_in_ch": 3, "num_out_ch": 3}
    if kind.startswith("RRDB"):
        entries |= {
            "num_feat": 64,
            "num_block": 23,
            "num_grow_ch": 32,
            **({} if scale == 4 else {"scale": scale}),
        }
    else:
        entries |= {"num_feat": 64, "num_block": 16, "upscale": scale}
    return section("network_g", {**entries, **sizes})


def reflash_train(
    kind: str,
    *,
    name: str = "train_RealSRResNetx4",
    weight: str = "",
    scale: int = 4,
    gt: str = "DIV2K_sub",
    val: tuple[str, str] = ("Set5/HR", "Set5/LR"),
    gt_size: int = 128,
    batch: int = 8,
    queue: int = 16,
    workers: int = 2,
    **sizes: Any,
) -> str:
    text = f"name: {name}\nmodel_type: RealESRNetModel\nscale: {scale}\nnum_gpu: 2\nmanual_seed: 0\n"
    text += f"weight: {weight}\n" if weight else ""
    text += resnet(kind, scale, **sizes) + "gt_usm: True\n" + SECOND_ORDER
    text += f"gt_size: {gt_size}\nqueue_size: {queue}\ndatasets:\n  train:\n    name: DIV2K\n"
    text += f"    type: RealESRGANDataset\n    dataroot_gt: {gt}\n    io_backend:\n      type: disk\n"
    text += SECOND_ORDER_BLUR + f"    gt_size: {gt_size}\n    use_hflip: True\n    use_rot: False\n"
    text += LOADER.format(workers=workers, batch=batch)
    text += PAIRS.format(key="val", name="validation", gt=val[0], lq=val[1])
    path = {
        "pretrain_network_g": "~",
        "param_key_g": "params_ema",
        "strict_load_g": "true",
        "resume_state": "~",
    }
    cosine = "type: CosineAnnealingRestartLR\n    periods: [250000, 500000]\n    restart_weights: [1,1]"
    text += section("path", path) + training(rate="2e-4", total=500_000, schedule=cosine)
    rgb = metrics(4, y=False, ssim=False)
    return text + TRAIN_END.format(every="5000", save="True", log=100, metrics=rgb)


def reflash_test(
    kind: str, weights: str, sets: Mapping[str, tuple[str, str]], scale: int = 4, **sizes: Any
) -> str:
    text = f"name: test_Real_SRResNetx4\nmodel_type: SRModel\nscale: {scale}\nnum_gpu: 1\nmanual_seed: 0\n"
    text += resnet(kind, scale, **sizes)
    text += section("path", {"pretrain_network_g": weights, "strict_load_g": "true"})
    text += "val:\n  save_img: true\n  suffix: ~\n" + metrics(scale, y=False, ssim=False) + "datasets:\n"
    for number, (name, (gt, lq)) in enumerate(sets.items(), 1):
        text += PAIRS.format(key=f"test_{number:02d}", name=name, gt=gt, lq=lq)
    return text


# DASR, CDDNet
# ------------------------------------------------------------------------------------------------

LEVELS = """
degree_list: ['weak_degrade_one_stage', 'standard_degrade_one_stage', 'severe_degrade_two_stage']
degree_prob: [0.3, 0.3, 0.4]
resize_prob_weak1: [0.1, 0.2, 0.7]
resize_range_weak1: [0.85, 1.2]
gaussian_noise_prob_weak1: 0.5
noise_range_weak1: [1, 10]
poisson_scale_range_weak1: [0.05, 0.5]
gray_noise_prob_weak1: 0.4
jpeg_range_weak1: [90, 95]
resize_prob_standard1: [0.3, 0.4, 0.3]
resize_range_standard1: [0.5, 1.2]
gaussian_noise_prob_standard1: 0.5
noise_range_standard1: [1, 20]
poisson_scale_range_standard1: [0.05, 1.5]
gray_noise_prob_standard1: 0.4
jpeg_range_standard1: [50, 95]
"""


def _level_blur(ending: str, sigma: str) -> str:
    smallest = "blur_kernel_size2_minimum" if ending == "2" else f"blur_kernel_size_minimum{ending}"
    return f"""
    blur_kernel_size{ending}: 21
    {smallest}: 7
    kernel_list{ending}: [ 'iso', 'aniso' ]
    kernel_prob{ending}: [ 0.65, 0.35 ]
    sinc_prob{ending}: 0
    blur_sigma{ending}: {sigma}
    betag_range{ending}: [ 0.5, 4 ]
    betap_range{ending}: [ 1, 2 ]
"""


LEVEL_BLUR = (
    _level_blur("_weak1", "[ 0.2, 0.8 ]")
    + _level_blur("_standard1", "[ 0.2, 1.5 ]")
    + _level_blur("", "[0.2, 3]")
    + _level_blur("2", "[0.2, 1.5]")
    + "    final_sinc_prob: 0.8\n"
)


def blind_nets(scale: int, generator: Mapping[str, Any], predictor: Mapping[str, Any]) -> str:
    net_g = {"type": "MSRResNetDynamic", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16}
    net_p = {"type": "Degradation_Predictor", "in_nc": 3, "nf": 64, "num_params": 33, "num_networks": 5}
    text = section("network_g", {**net_g, "num_models": 5, "upscale": scale, **generator})
    return text + section("network_p", {**net_p, **predictor})


def dasr_train(
    *,
    cddnet: bool,
    scale: int = 4,
    gt: str = "datasets/DF2K",
    gt_size: int = 256,
    batch: int = 6,
    queue: int = 192,
    workers: int = 6,
    total: int = 500_000,
    load: str = "~",
    feat: int = 64,
    generator: Mapping[str, Any] | None = None,
    predictor: Mapping[str, Any] | None = None,
    layers: str = VGG19,
    vgg: str = "vgg19",
    levels: str = LEVELS,
) -> str:
    pixel = "CharbonnierLoss" if cddnet else "L1Loss"
    text = f"name: train_DASR\nmodel_type: DASRModel\nscale: {scale}\nnum_gpu: 1\nnum_networks: 5\n"
    text += (
        "manual_seed: 0\nl1_gt_usm: True\npercep_gt_usm: True\ngan_gt_usm: False\n" + levels + SECOND_ORDER
    )
    text += f"gt_size: {gt_size}\nqueue_size: {queue}\ndatasets:\n  train:\n    name: DF2K+OST\n"
    text += f"    type: DASRDataset\n    dataroot_gt: {gt}\n    io_backend:\n      type: disk\n" + LEVEL_BLUR
    text += f"    gt_size: {gt_size}\n    use_hflip: True\n    use_rot: False\n"
    text += LOADER.format(workers=workers, batch=batch)
    text += (
        "  val:\n    name: RealWorld38\n    type: SingleImageDataset\n    dataroot_lq: datasets/RealWorld38\n"
    )
    text += "    io_backend:\n      type: disk\n" + blind_nets(scale, generator or {}, predictor or {})
    discriminator = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": feat, "skip_connection": True}
    text += section("network_d", discriminator)
    path = {
        "pretrain_network_g": load,
        "pretrain_network_p": "~",
        "param_key_g": "params",
        "strict_load_g": "true",
    }
    text += section("path", {**path, "resume_state": "~"})
    losses = "".join(
        f"  {name}:\n    type: {pixel}\n    loss_weight: !!float 1.0\n    reduction: mean\n"
        for name in ("cycle_opt", "regress_opt", *(["artifacts_opt"] if cddnet else []))
    )
    schedule = steps([500_000], 1)
    text += training(
        rate="1e-4",
        total=total,
        schedule=schedule,
        gan=True,
        losses=losses,
        layers=layers,
        vgg=vgg,
        pixel=pixel,
    )
    return text + TRAIN_END.format(every="5e3", save="True", log=100, metrics="")


def dasr_test(
    scale: int, net_g: str, net_p: str, lq: str, generator: Mapping[str, Any], predictor: Mapping
) -> str:
    text = f"name: DASR\nmodel_type: SRGANDynamicModel\nscale: {scale}\nnum_gpu: 1\n"
    text += "manual_seed: 0\nnum_networks: 5\n"
    text += (
        f"datasets:\n  test_1:\n    name: RealWorld38\n    type: SingleImageDataset\n    dataroot_lq: {lq}\n"
    )
    text += "    io_backend:\n      type: disk\n" + blind_nets(scale, generator, predictor)
    path = {
        "pretrain_network_g": net_g,
        "pretrain_network_p": net_p,
        "param_key_g": "~",
        "strict_load_g": "true",
    }
    return text + section("path", path) + "val:\n  save_img: true\n  suffix: ~\n"
