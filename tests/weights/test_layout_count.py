"""How many models of OpenModelDB have a network and a key layout that is read.

Its table of architectures at 782aac0 (671 models), with the scales and channels of ESRGAN's and the compact
networks. A small network of every kind is written in every layout that its publishers use, wrapped as they
wrap it, and must be recognised and give the same numbers.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ppsr.inference.network import load_network
from ppsr.registry import build_generator
from ppsr.weights import write_state

MODELS = 671
SMALL = {"num_feat": 6, "num_block": 2, "num_grow_ch": 3}
SWIN = {
    "embed_dim": 12,
    "depths": [2, 2],
    "num_heads": [2, 2],
    "window_size": 4,
    "mlp_ratio": 2,
    "img_size": 8,
}
SHUFFLE = {"upsampler": "pixelshuffle"}


def esrgan(channels: tuple[int, int], scale: int, unshuffle: int = 1, plus: bool = False) -> dict:
    ends = {"num_in_ch": channels[0], "num_out_ch": channels[1]}
    return {**SMALL, **ends, "scale": scale, "unshuffle": unshuffle, "plus": plus}


# network, arguments, layouts, models of the data base
ROWS: list[tuple[str, list[dict], tuple[str, ...], int]] = [
    ("RRDBNet", [esrgan((3, 3), 1), esrgan((3, 3), 1, 4)], ("old", "trunk", "new"), 103),
    ("RRDBNet", [esrgan((3, 3), 2), esrgan((3, 3), 2, 2)], ("old", "trunk", "new"), 56),
    ("RRDBNet", [esrgan((3, 3), 4)], ("old", "trunk", "new", "kair"), 187),
    ("RRDBNet", [esrgan((3, 3), 8)], ("old", "trunk", "new"), 9),
    ("RRDBNet", [esrgan((3, 3), 16)], ("old", "trunk", "new"), 2),
    ("RRDBNet", [esrgan((1, 1), 1), esrgan((1, 3), 1)], ("old", "new"), 5),
    ("RRDBNet", [esrgan((1, 1), 4)], ("old", "new"), 2),
    ("RRDBNet", [esrgan((4, 4), scale) for scale in (2, 4, 8)], ("old", "new"), 4),
    ("RRDBNet", [esrgan((3, 3), 4, plus=True)], ("old",), 3),
    ("SRVGGNetCompact", [{"num_feat": 6, "num_conv": 2, "upscale": s} for s in (1, 2, 4)], ("new",), 85),
    (
        "SwinIR",
        [
            *({**SWIN, **SHUFFLE, "upscale": scale} for scale in (2, 3, 4, 8)),
            {**SWIN, "upsampler": "pixelshuffledirect", "upscale": 2},
            {**SWIN, "upsampler": "nearest+conv", "upscale": 4, "resi_connection": "3conv"},
            {**SWIN, "upsampler": "", "upscale": 1, "in_chans": 1},
        ],
        ("published",),
        22,
    ),
    (
        "HAT",
        [{**SWIN, **SHUFFLE, "upscale": s, "compress_ratio": 3, "squeeze_factor": 6} for s in (2, 3, 4)],
        ("published",),
        7,
    ),
    ("DRCT", [{**SWIN, **SHUFFLE, "upscale": scale, "gc": 4} for scale in (2, 4)], ("published",), 6),
    (
        "RCAN",
        [{"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "scale": s} for s in (2, 3, 4)],
        ("published",),
        4,
    ),
    ("MSRResNet", [{"num_feat": 6, "num_block": 2, "upscale": s} for s in (2, 3, 4)], ("new", "kair-sr"), 1),
]


def old(key: str, ups: int, blocks: int, kair: bool = False) -> str:
    if match := re.fullmatch(r"body\.(\d+)\.rdb(\d)\.(conv\w+)\.(\w+)", key):
        bare = match[3] == "conv1x1" or (kair and match[3] == "conv5")
        return f"model.1.sub.{match[1]}.RDB{match[2]}.{match[3]}{'' if bare else '.0'}.{match[4]}"
    places = {"conv_first": "0", "conv_body": f"1.sub.{blocks}", "conv_hr": f"{3 * ups + 2}"}
    places |= {"conv_last": f"{3 * ups + 4}", **{f"conv_up{k}": f"{3 * k}" for k in range(1, ups + 1)}}
    name, _, kind = key.rpartition(".")
    return f"model.{places[name]}.{kind}"


def trunk(key: str) -> str:
    key = re.sub(r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", key)
    return key.replace("conv_body", "trunk_conv").replace("conv_hr", "HRconv").replace("conv_up", "upconv")


def renamer(layout: str, arguments: dict) -> Callable[[str], str]:
    if layout in ("old", "kair"):
        ups = (arguments["scale"] * arguments["unshuffle"]).bit_length() - 1
        return lambda key: old(key, ups, arguments["num_block"], layout == "kair")
    if layout == "trunk":
        return trunk
    if layout == "kair-sr":
        return lambda key: re.sub(r"^body\.", "recon_trunk.", key).replace("conv_hr", "HRconv")
    return str


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variants", "layouts", "count"), ROWS, ids=lambda value: str(value)[:24])
def test_layout_is_read(
    tmp_path: Path, name: str, variants: list[dict], layouts: tuple[str, ...], count: int
):
    from ppsr.weights.loading import transposed_keys

    for arguments in variants:
        net = build_generator(name, **arguments)
        turn = transposed_keys(net)
        state = {k: v.numpy().T if k in turn else v.numpy() for k, v in net.state_dict().items()}
        for layout in layouts:
            rename = renamer(layout, arguments)
            foreign = {rename(key): value for key, value in state.items()}
            assert len(foreign) == len(state)
            write_state(
                tmp_path / "a.pth", foreign if layout in ("old", "trunk") else {"params_ema": foreign}
            )
            again = load_network(load=tmp_path / "a.pth")
            assert type(again) is type(net) and again.scale == net.scale
            for key, value in again.state_dict().items():
                np.testing.assert_array_equal(value.numpy(), net.state_dict()[key].numpy(), err_msg=key)


def test_seventy_three_of_a_hundred_models_are_read() -> None:
    """The rows above are tested one by one; together they are the share that the pages name."""
    read = sum(count for *_, count in ROWS)
    assert read == 496
    assert read / MODELS > 0.73
