"""Detectors of networks of convolutions: SRResNet, RRDB, SRVGG, CDDNet, DRN, RCAN, IMDN, ..."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ppsr.weights.esrgan_keys import esrgan_keys, esrgan_layout
from ppsr.weights.identify.shapes import Found, State, count, root, steps

__all__ = [
    "drn",
    "drn_dual",
    "espcn",
    "fsrcnn",
    "imdn",
    "imdn_kair",
    "predictor",
    "rcan",
    "residual",
    "rrdbnet",
    "srvgg",
]

_FOLDED_UPS = 2  # enlarging convolutions of networks that fold their input


def _rgb_range(state: State) -> float:
    """Largest value of an image, from the mean that is subtracted first (about 0.45 of it)."""
    return 255.0 if float(np.abs(state["sub_mean.bias"]).max()) > 2 else 1.0


def msrresnet(state: State) -> Found:
    first, last = state["conv_first.weight"].shape, state["conv_last.weight"].shape
    enlarging = [state[name].shape for name in ("upconv1.weight", "upconv2.weight") if name in state]
    return "MSRResNet", {
        "num_in_ch": first[1],
        "num_out_ch": last[0],
        "num_feat": first[0],
        "num_block": count(state, r"(?:body\.?|recon_trunk\.)(\d+)\."),
        "upscale": math.prod(root(out / width) for out, width, *_ in enlarging),
    }


def rrdbnet(state: State) -> Found:
    """Any layout of ESRGAN's family. An input of 4 or 16 times the output's channels is folded; one
    enlarging convolution means x2, as nobody publishes the x3 that has the same keys.
    """
    layout, state = esrgan_layout(state), esrgan_keys(state)
    width, folded = state["conv_first.weight"].shape[:2]
    out = state["conv_last.weight"].shape[0]
    ups = count(state, r"conv_up(\d+)\.weight")
    unshuffle = {4 * out: 2, 16 * out: 4}.get(folded, 1) if ups == _FOLDED_UPS else 1
    if ups and f"conv_up{ups}.weight" not in state:
        raise ValueError("the enlarging convolutions are not numbered 1, 2, ...")
    if state["conv_hr.weight"].shape[:2] != (width, width):
        raise ValueError(
            f"conv_hr is {state['conv_hr.weight'].shape}: enlargement by pixel shuffle is not known"
        )
    return "RRDBNet", {
        "num_in_ch": folded // unshuffle**2,
        "num_out_ch": out,
        "scale": 2**ups // unshuffle,
        "num_feat": width,
        "num_block": count(state, r"body\.(\d+)\."),
        "num_grow_ch": state["body.0.rdb1.conv1.weight"].shape[0],
        "unshuffle": unshuffle,
        "plus": layout == "plus" or "body.0.rdb1.conv1x1.weight" in state,
    }


def srvgg(state: State) -> Found:
    width, channels = state["body.0.weight"].shape[:2]
    last = max(int(key.split(".")[1]) for key in state)
    return "SRVGGNetCompact", {
        "num_in_ch": channels,
        "num_out_ch": channels,
        "num_feat": width,
        "num_conv": (last - 2) // 2,
        "upscale": root(state[f"body.{last}.weight"].shape[0] / channels),
        "act_type": "prelu" if "body.1.weight" in state else "relu",
    }


def cddnet(state: State) -> Found:
    models, width, channels = state["conv_first.weight"].shape[:3]
    scale = 1
    for name in ("upconv1.weight", "upconv2.weight"):
        if name in state:
            scale *= root(state[name].shape[1] / state[name].shape[2])
    attention = any(key.startswith("RC.") for key in state)
    facts = {
        "num_in_ch": channels,
        "num_out_ch": state["conv_last.weight"].shape[1],
        "num_feat": width,
        "num_block": count(state, r"body\.(\d+)\."),
        "num_models": models,
        "upscale": scale,
        "use_rc": attention,
    }
    return "CDDNet", facts if attention else {**facts, "column_dropout": 0.0, "row_dropout": 0.0}


def residual(state: State) -> Found:
    """Expert convolutions have one axis more than plain ones."""
    return cddnet(state) if state["conv_first.weight"].ndim == 5 else msrresnet(state)


def predictor(state: State) -> Found:
    first = state["ConvNet.0.weight"].shape
    return "DegradationPredictor", {
        "in_nc": first[1],
        "nf": first[0],
        "num_params": state["ConvNet.10.weight"].shape[0],
        "num_networks": state["MappingNet.1.bias"].shape[0],
        "use_bias": "ConvNet.2.bias" in state,
    }


def drn(state: State) -> Found:
    width, colors, kernel = state["head.weight"].shape[:3]
    return "DRNGenerator", {
        "scale": tuple(2 ** (i + 1) for i in range(count(state, r"down\.(\d+)\."))),
        "n_blocks": count(state, r"up_blocks\.0\.(\d+)\.body\."),
        "n_feats": width,
        "n_colors": colors,
        "rgb_range": _rgb_range(state),
        "kernel_size": kernel,
    }


def drn_dual(state: State) -> Found:
    width, channels = state["dual_module.0.0.weight"].shape[:2]
    out = state["dual_module.1.weight"].shape[0]
    return "DRNDual", {"in_channels": channels, "n_feats": width, "out_channels": out}


def rcan(state: State) -> Found:
    width, colors, kernel = state["head.0.weight"].shape[:3]
    narrow = state["body.0.body.0.body.3.conv_du.0.weight"].shape[0]
    return "RCAN", {
        "scale": steps(state, "tail.0."),
        "n_resgroups": count(state, r"body\.(\d+)\.body\."),
        "n_resblocks": count(state, r"body\.0\.body\.(\d+)\.body\."),
        "n_feats": width,
        "n_colors": colors,
        "rgb_range": _rgb_range(state),
        "kernel_size": kernel,
        "reduction": width // narrow,
    }


def imdn(state: State) -> Found:
    """Both networks under the published names: a run of the one without attention writes those too."""
    attention = "IMDB1.cca.conv_du.0.weight" in state
    return "IMDN", _imdn(state, "fea_conv", r"IMDB(\d+)\.", "upsampler.0", attention=attention)


def imdn_kair(state: State) -> Found:
    return "IMDN", _imdn(state, "model.0", r"model\.1\.sub\.(\d+)\.conv", "model.2", attention=False)


def _imdn(state: State, first: str, block: str, last: str, *, attention: bool) -> dict[str, Any]:
    width, channels = state[f"{first}.weight"].shape[:2]
    return {
        "in_nc": channels,
        "nf": width,
        "num_modules": count(state, block),
        "out_nc": channels,
        "upscale": root(state[f"{last}.weight"].shape[0] / channels),
        "attention": attention,
    }


def fsrcnn(state: State) -> Found:
    """Without the scale, which leaves no trace: the last kernel is 9x9 for all."""
    width, channels = state["first_part.0.weight"].shape[:2]
    return "FSRCNN", {
        "num_channels": channels,
        "d": width,
        "s": state["mid_part.0.weight"].shape[0],
        "m": sum(state[key].ndim == 4 for key in state if key.startswith("mid_part.")) - 2,
        "shared_slopes": state["first_part.1.weight"].shape[0] == 1 < width,
    }


def espcn(state: State) -> Found:
    channels = state["first_part.0.weight"].shape[1]
    scale = root(state["last_part.0.weight"].shape[0] / channels)
    return "ESPCN", {"scale": scale, "num_channels": channels}
