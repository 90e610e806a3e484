"""Recognising networks: build, forget the arguments, identify, rebuild, load, compare."""

import json
from typing import Any

import numpy as np
import pytest

from ppsr.errors import WeightError
from ppsr.generators.srvgg import SRVGGNetCompact
from ppsr.registry import GENERATORS
from ppsr.weights.identify import identify, open_choices
from ppsr.weights.loading import load_state
from tests.generators.test_every_network import check_recognised, plain
from tests.golden.files import DATA

TINY = {"num_feat": 8, "num_block": 2}
MAMBAIR = {"embed_dim": 31, "depths": [2, 1], "d_state": 2, "mlp_ratio": 1.2}
MAMBADRCT = {"embed_dim": 32, "gc": 4, "depths": [6], "num_heads": [6], "d_state": 2, "expand": 1.1}
DRCT = {"embed_dim": 60, "depths": [6], "num_heads": [6], "window_size": 4, "upsampler": "pixelshuffle"}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *(("MSRResNet", {**TINY, "upscale": scale}) for scale in (1, 2, 3, 4)),
    ("MSRResNet", {**TINY, "num_in_ch": 1, "num_out_ch": 1, "num_block": 11}),
    *(("RRDBNet", {**TINY, "scale": scale, "num_grow_ch": 4}) for scale in (1, 2, 4)),
    ("RRDBNet", {**TINY, "scale": 2, "num_in_ch": 1, "num_out_ch": 1, "num_grow_ch": 4}),
    *(
        ("RRDBNet", {**TINY, "scale": scale, "unshuffle": unshuffle, "num_grow_ch": 4})
        for scale, unshuffle in ((1, 2), (2, 4), (4, 2), (8, 2), (2, 1))
    ),
    ("DRCT", {**DRCT, "mlp_ratio": 2.66, "gc": 8}),
    ("SRVGGNetCompact", {"num_feat": 8, "num_conv": 12, "upscale": 3}),
    ("SRVGGNetCompact", {"num_feat": 8, "num_conv": 1, "act_type": "relu", "num_in_ch": 1, "num_out_ch": 1}),
    *(("CDDNet", {**TINY, "num_models": 2, "upscale": scale}) for scale in (1, 2, 3, 4)),
    ("CDDNet", {**TINY, "num_models": 4, "use_rc": False, "column_dropout": 0.0, "row_dropout": 0.0}),
    ("DegradationPredictor", {"nf": 4, "in_nc": 1, "use_bias": False}),
    ("DRNGenerator", {"scale": (2,), "n_blocks": 2, "n_feats": 8}),
    ("DRNGenerator", {"scale": (2, 4, 8), "n_blocks": 1, "n_feats": 8, "rgb_range": 1.0}),
    *(("RCAN", {"scale": s, "n_resgroups": 2, "n_resblocks": 1, "n_feats": 16}) for s in (2, 3, 4, 8)),
    ("RCAN", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "reduction": 4, "n_colors": 1}),
    ("DRNDual", {"in_channels": 1, "n_feats": 4, "out_channels": 2}),
    *(("MambaIR", {**MAMBAIR, "upsampler": "pixelshuffle", "upscale": scale}) for scale in (2, 3, 4)),
    ("MambaIR", {**MAMBAIR, "upscale": 1, "in_chans": 1, "patch_norm": False, "resi_connection": "3conv"}),
    ("MambaDRCT", {**MAMBADRCT, "num_heads": [6, 6], "depths": [6, 6], "ape": True, "img_size": 8}),
    ("MambaDRCT", {**MAMBADRCT, "is_light_cab": False, "patch_norm": False, "resi_connection": "identity"}),
    ("MambaDRCT", {**MAMBADRCT, "mamba_blocks": [1, 0, 1, 0, 1], "num_heads": [2], "window_size": 4}),
    ("MambaDRCT", {**MAMBADRCT, "mamba_type": "ssmlp", "expand": 2.0, "mlp_ratio": 1.3, "in_chans": 1}),
    ("MambaDRCT", {**MAMBADRCT, "mamba_type": "ssmlp", "mamba_blocks": [1, 1, 1, 1, 0], "num_heads": [2]}),
]


def build(name: str, arguments: dict[str, Any]) -> Any:
    return GENERATORS.build({"name": name, **arguments})


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), VARIANTS, ids=lambda value: str(value)[:60])
def test_variant_is_recognised_and_rebuilt(name: str, arguments: dict[str, Any]) -> None:
    check_recognised(name, arguments)


FAMILIES = ("swinir", "hat", "drct", "mamba_mambair", "mamba_mambadrct")
RECORDED = [p for family in FAMILIES for p in sorted(DATA.glob(f"{family}_*.npz"))]
LEFT_NO_TRACE = {"img_range", "drop_path_rate", "conv_scale", "patch_size", "qk_scale"}
RATIOS = {"mlp_ratio", "expand", "overlap_ratio", "compress_ratio", "squeeze_factor"}  # many give one width


@pytest.mark.slow
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_published_attention_weights_are_recognised(path: Any) -> None:
    with np.load(path) as data:
        meta = json.loads(str(data["meta"]))
        state = {key.removeprefix("param/"): data[key] for key in data.files if key.startswith("param/")}
    kwargs = meta["kwargs"]
    sides = np.broadcast_to(kwargs.get("img_size", 64), 2)
    if kwargs.get("ape") and sides[0] != sides[1]:
        with pytest.raises(WeightError, match="is not a square"):
            identify(state)
        return
    name, recovered = identify(state)
    assert name == meta["network"]
    for key, value in kwargs.items():
        if key in LEFT_NO_TRACE or key not in recovered or ("DRCT" in name and key == "depths"):
            continue  # DRCT's groups have five blocks whatever `depths` says
        if key == "num_heads" and "window_size" not in recovered:
            continue  # no attention at all
        # windows larger than the training size are clamped
        wanted = min(value, *sides) if key == "window_size" else value
        if key == "upsampler":
            wanted = value or ""  # both mean none
        if kwargs.get("upsampler") == "nearest+conv_NoUp" and key in ("upsampler", "upscale"):
            wanted = {"upsampler": "nearest+conv", "upscale": 4}[key]  # the network with the same keys
        assert key in RATIOS or plain(recovered)[key] == wanted, key
    assert not load_state(build(name, recovered), state, layout="torch")


def test_released_second_key_layout_of_msrresnet_is_recognised() -> None:
    net = build("MSRResNet", {**TINY, "upscale": 2})
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    renamed = {
        key.replace("body.0.", "body1.0.").replace("body.1.", "body2.0."): value
        for key, value in state.items()
    }
    assert renamed.keys() != state.keys() and identify(renamed) == identify(state)


@pytest.mark.parametrize(("window", "expected"), [(7, 255.0), (8, 1.0)])
def test_swinir_against_jpeg_artifacts_has_values_up_to_255(window: int, expected: float) -> None:
    sizes = {"window_size": window, "img_size": 4 * window, "embed_dim": 8, "depths": [2], "num_heads": [2]}
    net = build("SwinIR", {**sizes, "in_chans": 1, "upscale": 1, "upsampler": ""})
    spec = identify({key: value.numpy() for key, value in net.state_dict().items()})
    assert build(*spec).img_range == expected
    assert ["img_range" in choice for choice in open_choices(spec)] == [True] * (expected == 255)


IMDN = [f"model.{part}.weight" for part in ("0", "1.sub.0.conv1x1")]
EDSR = ["conv_first", "body.0.conv1", "body.0.conv2", "conv_after_body", "upsample.0", "conv_last"]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"encoder.weight": (2, 2)}, r"encoder\.weight.*tried .*HAT.*RRDBNet"),
        (dict.fromkeys(IMDN, (4, 4, 1, 1)), r"look like IMDN.*'model\.2\.weight' is missing"),
        ({f"{key}.weight": (4, 4, 3, 3) for key in EDSR}, "no known network"),  # and not MSRResNet
        ({"body.0.body.0.body.3.conv_du.0.weight": (1, 16, 1, 1)}, "look like RCAN"),
        (
            dict.fromkeys(["conv0.weight", "conv9.weight"], (4, 3, 3, 3)),
            "discriminator.*file of the generator",
        ),
    ],
)
def test_what_is_not_known_says_what_was_tried_or_is_missing(shapes, message) -> None:
    with pytest.raises(WeightError, match=message):
        identify({key: np.zeros(shape) for key, shape in shapes.items()})


def test_a_network_registered_later_is_asked_after_one_that_fails(monkeypatch) -> None:
    class Later(SRVGGNetCompact):
        @staticmethod
        def detect(state):
            return {"num_feat": 4} if "head.weight" in state else None

    monkeypatch.setitem(GENERATORS._objects, "ZLater", Later)
    state = {"body.0.weight": np.zeros((4, 3, 3, 3)), "head.weight": np.zeros(4)}
    assert identify(state) == ("ZLater", {"num_feat": 4})
    with pytest.raises(WeightError, match="look like SRVGGNetCompact"):
        identify({"body.0.weight": state["body.0.weight"], "tail.weight": np.zeros(4)})


def test_an_additional_key_of_another_form_does_not_hide_the_network() -> None:
    state = {"body.0.weight": np.zeros((4, 3, 3, 3)), "body.2.weight": np.zeros((12, 4, 3, 3))}
    assert identify({**state, "head.weight": np.zeros(2)}).name == "SRVGGNetCompact"
