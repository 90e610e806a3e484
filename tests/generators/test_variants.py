"""The table of published models against the networks that it builds."""

import json
import math

import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, Linear
from ppsr.generators.macs import count_macs
from ppsr.generators.variants import all_variants, find_variant
from tests.command import run_ppsr

# FLOPs in 1e9 for an SR image of 1280x720, as MambaIR's authors count them.
PUBLISHED_GFLOPS = {"MambaIR-light_x2": 334.2, "MambaIR-light_x3": 148.5, "MambaIR-light_x4": 84.6}
# Multiply-accumulates in 1e9, to the digits that were counted on the released code.
PUBLISHED_GMACS = {
    "SwinIR-M_x4": 53.56,
    "HAT-S_x4": 54.62,
    "HAT_x4": 103.88,
    "HAT-L_x4": 202.99,
    "DRCT_x2": 71.83,
    "DRCT_x3": 72.63,
    "DRCT_x4": 74.34,
    "DRCT-L_x4": 143.90,
}
# Token networks take long to count, so one of each family is.
TOKEN_NETWORKS = ("SwinIR", "HAT", "DRCT", "MambaIR", "MambaDRCT")
COUNTED_TOKENS = ("SwinIR-light_x2", "HAT-S_x2", "DRCT_x2", "MambaIR-light_x3", "MambaDRCT-H_x4")
# Without the mixing of experts, which costs one more per parameter of an expert convolution.
_CDDNET_GMACS = {"CDDNet_x4": 11.7385, "CDDNet_x3": 8.3802, "CDDNet_x2": 6.4128}
_DASR_GMACS = {"DASR_x4": 10.3880, "DASR_x3": 7.6205, "DASR_x2": 6.0752}
_PREDICTOR_GMACS = 1.1223
_LARGE_KERNEL_PARAMETERS = 20_928
_PREDICTOR_PARAMETERS = 468_143


def parameters(net) -> int:
    return sum(math.prod(p.shape) for p in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("variant", all_variants(), ids=lambda v: v.name)
def test_table_states_what_the_built_network_has(variant, undrawn: None) -> None:
    net = variant.build()
    assert net.scale == variant.scale
    assert parameters(net) == variant.parameters
    if variant.generator not in TOKEN_NETWORKS or variant.name in COUNTED_TOKENS:
        assert count_macs(net, (1, getattr(net, "num_channels", 3), 64, 64)) == variant.macs


@pytest.mark.parametrize("name", PUBLISHED_GMACS)
def test_macs_of_attention_models_equal_the_counts_of_the_released_code(name: str) -> None:
    assert find_variant(name).macs / 1e9 == pytest.approx(PUBLISHED_GMACS[name], abs=0.006)


def test_macs_of_blind_models_are_convolutions_and_mixing() -> None:
    for name, published in {**_CDDNET_GMACS, **_DASR_GMACS}.items():
        variant = find_variant(name)
        static = _PREDICTOR_PARAMETERS + (_LARGE_KERNEL_PARAMETERS if name in _CDDNET_GMACS else 0)
        linear_layers = 33 * 15 + 15 * 5
        mixing = variant.parameters - static
        expected = (published + _PREDICTOR_GMACS) * 1e9 + mixing + linear_layers
        assert variant.macs == pytest.approx(expected, abs=1.5e5)


def test_macs_of_fsrcnn_are_its_papers_count_of_weights_per_pixel() -> None:
    """The paper counts 12,464 weights, and 3,937 of its small network, each used once per LR pixel."""
    assert find_variant("FSRCNN_x3").macs == 12_464 * 64**2
    assert find_variant("FSRCNN-s_x3").macs == 3_937 * 64**2


def test_macs_of_drn_agree_with_its_readme() -> None:
    """The DRC project states 109.9, 224.8, 198.0 and 366.5 G; these are for LR images of 96x96."""
    published = {"DRN-S_x4": 109.9, "DRN-L_x4": 224.8, "DRN-S_x8": 198.0, "DRN-L_x8": 366.5}
    for name, gmacs in published.items():
        assert find_variant(name).macs * (96 / 64) ** 2 / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.parametrize("name", PUBLISHED_GFLOPS)
def test_macs_of_mambair_agree_with_its_paper(name: str) -> None:
    """The authors count nine operations for each state of a token where this project counts three products,
    one for the direct path, and five for each number that is normalised."""
    width, inner, states, blocks = 60, 72, 10, 24
    scan = 4 * inner * (6 * states + 1)
    norms = 5 * (2 * width + inner)
    ours = find_variant(name).macs / 64**2 + blocks * (scan + norms)
    scale = find_variant(name).scale
    pixels = (1280 // scale) * (720 // scale)
    assert ours * pixels / 1e9 == pytest.approx(PUBLISHED_GFLOPS[name], rel=0.003)


def test_names_are_unique_and_end_with_the_scale() -> None:
    names = [variant.name for variant in all_variants()]
    assert len(set(names)) == len(names)
    assert all(variant.name.endswith(f"_x{variant.scale}") for variant in all_variants())


def test_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="RCAN_x4"):
        find_variant("RCAN-x4")


def test_list_prints_every_model_or_those_asked_for() -> None:
    printed = run_ppsr("models", "networks").stdout
    for variant in all_variants():
        assert f"{variant.parameters:,}" in printed
        assert any(line.startswith(f"{variant.name} ") for line in printed.splitlines())
    lines = run_ppsr("models", "networks", "--like", "drn", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [entry["name"] for entry in found] == [
        v.name for v in all_variants() if v.generator == "DRNGenerator"
    ]
    assert found[0]["kwargs"]["n_blocks"] == 30


class Everything(nn.Layer):
    """A strided, a dilated and a grouped convolution, a linear layer, and attention in three spellings."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = Conv2D(3, 8, 3, stride=2, padding=1)
        self.dilated = Conv2D(8, 8, 3, padding=2, dilation=2, groups=4)
        self.linear = Linear(8, 16)

    def forward(self, x):
        x = self.dilated(self.strided(x))
        n, c, h, w = x.shape
        tokens = self.linear(x.reshape([n, c, h * w]).transpose([0, 2, 1]))
        weights = F.softmax(tokens @ tokens.transpose([0, 2, 1]))
        again = paddle.matmul(weights, tokens)
        return again.matmul(tokens, transpose_y=True)


def test_macs_equal_the_count_by_hand() -> None:
    positions = 4 * 5
    by_hand = positions * (8 * 3 * 9 + 8 * 2 * 9 + 8 * 16) + 3 * positions * positions * 16
    assert count_macs(Everything(), (1, 3, 7, 10)) == by_hand
    assert count_macs(Everything(), (2, 3, 7, 10)) == 2 * by_hand


def test_the_network_works_as_before_after_counting() -> None:
    net = Everything()
    net.train()
    x = paddle.rand([1, 3, 7, 10])
    before = net(x).numpy()
    count_macs(net, (1, 3, 8, 8))
    assert net.training
    assert (net(x).numpy() == before).all()
