"""The published models, and MambaDRCT, by name: which network with which arguments, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppsr.errors import ConfigError, did_you_mean
from ppsr.registry import GENERATORS

__all__ = ["VARIANTS", "Variant", "find_variant"]


@dataclass(frozen=True)
class Variant:
    """One model.

    Attributes:
        name: unique, ends with the scale.
        generator: registered name of the network.
        scale: enlargement.
        parameters: numbers in its parameters, frozen ones included.
        macs: multiply-accumulates for a 64x64 LR image, of convolutions, linear layers, matrix products.
        paper: where it was published, or that it was not.
        kwargs: constructor arguments that differ from the network's defaults.
    """

    name: str
    generator: str
    scale: int
    parameters: int
    macs: int
    paper: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """The network, freshly initialised."""
        return GENERATORS.build({"name": self.generator, **self.kwargs})


_CDDNET = "CDDNet, github.com/Aries1213/CDDNet"
_DASR = "DASR, ECCV 2022, arXiv:2203.14216"
_REFLASH = "Reflash Dropout, CVPR 2022, arXiv:2112.12089"
_DRN = "DRN, CVPR 2020, arXiv:2003.07018"
_RCAN = "RCAN, ECCV 2018, arXiv:1807.02758"
_SWINIR = "SwinIR, ICCVW 2021, arXiv:2108.10257"
_HAT = "HAT, CVPR 2023, arXiv:2205.04437"
_DRCT = "DRCT, CVPRW 2024, arXiv:2404.00722"
_MAMBAIR = "MambaIR, ECCV 2024, arXiv:2402.15648"
_MAMBADRCT = "none; defined here after a remark of DRCT's authors"
_IMDN = "IMDN, ACM MM 2019, arXiv:1909.11856"
_NTIRE = "KAIR; baseline of AIM 2019 and NTIRE 2022"
_FSRCNN = "FSRCNN, ECCV 2016, arXiv:1608.00367"
_ESPCN = "ESPCN, CVPR 2016, arXiv:1609.05158"
_REALESRGAN = "Real-ESRGAN, ICCVW 2021, arXiv:2107.10833"


def _blind(scale: int, **generator: Any) -> dict[str, Any]:
    return {
        "generator": {"name": "CDDNet", "upscale": scale, **generator},
        "predictor": {"name": "DegradationPredictor", "num_params": 33, "num_networks": 5},
    }


def _attention(groups: int, scale: int, *, window: int = 16, **changes: Any) -> dict[str, Any]:
    """The settings that SwinIR-M, HAT and DRCT share: width 180, six heads, six blocks per group."""
    return {
        "img_size": 64,
        "window_size": window,
        "embed_dim": 180,
        "depths": (6,) * groups,
        "num_heads": (6,) * groups,
        "mlp_ratio": 2,
        "upscale": scale,
        "upsampler": "pixelshuffle",
        **changes,
    }


def _swinir_light(scale: int) -> dict[str, Any]:
    return _attention(4, scale, window=8, embed_dim=60, upsampler="pixelshuffledirect")


def _state_space(groups: int, scale: int, **changes: Any) -> dict[str, Any]:
    """The settings that MambaIR and MambaDRCT share."""
    return {
        "embed_dim": 180,
        "depths": (6,) * groups,
        "d_state": 16,
        "upscale": scale,
        "upsampler": "pixelshuffle",
        **changes,
    }


def _mambair_light(scale: int) -> dict[str, Any]:
    narrow = {"embed_dim": 60, "d_state": 10, "mlp_ratio": 1.2}
    return _state_space(4, scale, upsampler="pixelshuffledirect", **narrow)


def _mambadrct(scale: int, **changes: Any) -> dict[str, Any]:
    return _state_space(6, scale, num_heads=(6,) * 6, **changes)


# every second block of a group scans; the others keep their windows
_HYBRID = {"mamba_blocks": (0, 1, 0, 1, 0), "img_size": 64, "window_size": 16, "mlp_ratio": 2}
_FULL = {"expand": 2.0, "is_light_cab": False}
_HAT_S = {"embed_dim": 144, "compress_ratio": 24, "squeeze_factor": 24}
_SWINIR_REAL_L = {
    "embed_dim": 240,
    "num_heads": (8,) * 9,
    "upsampler": "nearest+conv",
    "resi_connection": "3conv",
}
_WITHOUT_CDDNET_PARTS = {"use_rc": False, "column_dropout": 0.0, "row_dropout": 0.0}


VARIANTS: tuple[Variant, ...] = (
    Variant("CDDNet_x4", "BlindSR", 4, 8_076_926, 12_868_438_601, _CDDNET, _blind(4)),
    Variant("CDDNet_x3", "BlindSR", 3, 8_261_566, 9_510_296_457, _CDDNET, _blind(3)),
    Variant("CDDNet_x2", "BlindSR", 2, 7_338_366, 7_541_982_537, _CDDNET, _blind(2)),
    Variant("DASR_x4", "BlindSR", 4, 8_055_998, 11_517_872_713, _DASR, _blind(4, **_WITHOUT_CDDNET_PARTS)),
    Variant("DASR_x3", "BlindSR", 3, 8_240_638, 8_750_603_145, _DASR, _blind(3, **_WITHOUT_CDDNET_PARTS)),
    Variant("DASR_x2", "BlindSR", 2, 7_317_438, 7_204_341_065, _DASR, _blind(2, **_WITHOUT_CDDNET_PARTS)),
    Variant("Real-SRResNet_x4", "MSRResNet", 4, 1_517_571, 10_387_980_288, _REFLASH, {"upscale": 4}),
    Variant("Real-SRResNet_x3", "MSRResNet", 3, 1_554_499, 7_620_526_080, _REFLASH, {"upscale": 3}),
    Variant("Real-SRResNet_x2", "MSRResNet", 2, 1_369_859, 6_075_187_200, _REFLASH, {"upscale": 2}),
    Variant(
        "Real-SRResNet-dropout_x4",
        "MSRResNet",
        4,
        1_517_571,
        10_387_980_288,
        _REFLASH,
        {"upscale": 4, "dropout": {"type": "channel", "p": 0.7}},
    ),
    Variant("Real-RRDB_x4", "RRDBNet", 4, 16_697_987, 73_428_369_408, _REFLASH, {"scale": 4}),
    Variant("Real-RRDB_x2", "RRDBNet", 2, 16_703_171, 18_362_400_768, _REFLASH, {"scale": 2}),
    Variant("Real-RRDB_x1", "RRDBNet", 1, 16_723_907, 4_595_908_608, _REFLASH, {"scale": 1}),
    Variant(
        "Real-RRDB-dropout_x4",
        "RRDBNet",
        4,
        16_697_987,
        73_428_369_408,
        _REFLASH,
        {"scale": 4, "dropout": {"type": "channel", "p": 0.5}},
    ),
    Variant(
        "DRN-S_x2",
        "DRNGenerator",
        2,
        606_378,
        2_477_727_488,
        _DRN,
        {"scale": (2,), "n_blocks": 30, "n_feats": 16},
    ),
    Variant(
        "DRN-S_x4",
        "DRNGenerator",
        4,
        4_804_065,
        48_767_256_576,
        _DRN,
        {"scale": (2, 4), "n_blocks": 30, "n_feats": 16},
    ),
    Variant(
        "DRN-S_x8",
        "DRNGenerator",
        8,
        5_403_000,
        87_748_007_680,
        _DRN,
        {"scale": (2, 4, 8), "n_blocks": 30, "n_feats": 8},
    ),
    Variant(
        "DRN-L_x4",
        "DRNGenerator",
        4,
        9_825_893,
        99_753_445_888,
        _DRN,
        {"scale": (2, 4), "n_blocks": 40, "n_feats": 20},
    ),
    Variant(
        "DRN-L_x8",
        "DRNGenerator",
        8,
        10_004_018,
        162_501_740_416,
        _DRN,
        {"scale": (2, 4, 8), "n_blocks": 36, "n_feats": 10},
    ),
    Variant("RCAN_x2", "RCAN", 2, 15_444_667, 62_698_577_920, _RCAN, {"scale": 2}),
    Variant("RCAN_x3", "RCAN", 3, 15_629_307, 63_489_126_400, _RCAN, {"scale": 3}),
    Variant("RCAN_x4", "RCAN", 4, 15_592_379, 65_199_874_048, _RCAN, {"scale": 4}),
    Variant(
        "SRVGG-16_x4",
        "SRVGGNetCompact",
        4,
        621_424,
        2_536_243_200,
        _REALESRGAN,
        {"num_conv": 16, "upscale": 4},
    ),
    Variant(
        "SRVGG-32_x4",
        "SRVGGNetCompact",
        4,
        1_213_296,
        4_952_162_304,
        _REALESRGAN,
        {"num_conv": 32, "upscale": 4},
    ),
    Variant("IMDN_x2", "IMDN", 2, 694_404, 2_822_507_520, _IMDN, {"upscale": 2}),
    Variant("IMDN_x3", "IMDN", 3, 703_059, 2_857_896_960, _IMDN, {"upscale": 3}),
    Variant("IMDN_x4", "IMDN", 4, 715_176, 2_907_442_176, _IMDN, {"upscale": 4}),
    Variant(
        "IMDN-NTIRE_x4",
        "IMDN",
        4,
        893_936,
        3_651_928_064,
        _NTIRE,
        {"num_modules": 8, "upscale": 4, "attention": False},
    ),
    Variant("FSRCNN_x2", "FSRCNN", 2, 12_809, 51_052_544, _FSRCNN, {"scale": 2}),
    Variant("FSRCNN_x3", "FSRCNN", 3, 12_809, 51_052_544, _FSRCNN, {"scale": 3}),
    Variant("FSRCNN_x4", "FSRCNN", 4, 12_809, 51_052_544, _FSRCNN, {"scale": 4}),
    Variant("FSRCNN-s_x3", "FSRCNN", 3, 4_086, 16_125_952, _FSRCNN, {"scale": 3, "d": 32, "s": 5, "m": 1}),
    Variant("ESPCN_x3", "ESPCN", 3, 22_729, 92_667_904, _ESPCN, {"scale": 3}),
    Variant("ESPCN_x4", "ESPCN", 4, 24_752, 100_925_440, _ESPCN, {"scale": 4}),
    Variant("SwinIR-M_x2", "SwinIR", 2, 11_752_487, 51_055_607_808, _SWINIR, _attention(6, 2, window=8)),
    Variant("SwinIR-M_x3", "SwinIR", 3, 11_937_127, 51_845_971_968, _SWINIR, _attention(6, 3, window=8)),
    Variant("SwinIR-M_x4", "SwinIR", 4, 11_900_199, 53_556_461_568, _SWINIR, _attention(6, 4, window=8)),
    Variant("SwinIR-light_x2", "SwinIR", 2, 910_152, 4_282_859_520, _SWINIR, _swinir_light(2)),
    Variant("SwinIR-light_x3", "SwinIR", 3, 918_267, 4_316_037_120, _SWINIR, _swinir_light(3)),
    Variant("SwinIR-light_x4", "SwinIR", 4, 929_628, 4_362_485_760, _SWINIR, _swinir_light(4)),
    Variant(
        "SwinIR-Real-M_x4",
        "SwinIR",
        4,
        11_715_559,
        55_972_380_672,
        _SWINIR,
        _attention(6, 4, window=8, upsampler="nearest+conv"),
    ),
    Variant(
        "SwinIR-Real-L_x4",
        "SwinIR",
        4,
        28_013_059,
        125_622_484_992,
        _SWINIR,
        _attention(9, 4, window=8, **_SWINIR_REAL_L),
    ),
    Variant("HAT-S_x2", "HAT", 2, 9_473_471, 52_118_680_320, _HAT, _attention(6, 2, **_HAT_S)),
    Variant("HAT-S_x3", "HAT", 3, 9_658_111, 52_909_044_480, _HAT, _attention(6, 3, **_HAT_S)),
    Variant("HAT-S_x4", "HAT", 4, 9_621_183, 54_619_534_080, _HAT, _attention(6, 4, **_HAT_S)),
    Variant("HAT_x2", "HAT", 2, 20_624_795, 101_379_469_248, _HAT, _attention(6, 2)),
    Variant("HAT_x3", "HAT", 3, 20_809_435, 102_169_833_408, _HAT, _attention(6, 3)),
    Variant("HAT_x4", "HAT", 4, 20_772_507, 103_880_323_008, _HAT, _attention(6, 4)),
    Variant("HAT-L_x2", "HAT", 2, 40_698_863, 200_487_673_728, _HAT, _attention(12, 2)),
    Variant("HAT-L_x3", "HAT", 3, 40_883_503, 201_278_037_888, _HAT, _attention(12, 3)),
    Variant("HAT-L_x4", "HAT", 4, 40_846_575, 202_988_527_488, _HAT, _attention(12, 4)),
    Variant("DRCT_x2", "DRCT", 2, 13_991_867, 71_834_714_112, _DRCT, _attention(6, 2)),
    Variant("DRCT_x3", "DRCT", 3, 14_176_507, 72_625_078_272, _DRCT, _attention(6, 3)),
    Variant("DRCT_x4", "DRCT", 4, 14_139_579, 74_335_567_872, _DRCT, _attention(6, 4)),
    Variant("DRCT-L_x2", "DRCT", 2, 27_433_007, 141_398_163_456, _DRCT, _attention(12, 2)),
    Variant("DRCT-L_x3", "DRCT", 3, 27_617_647, 142_188_527_616, _DRCT, _attention(12, 3)),
    Variant("DRCT-L_x4", "DRCT", 4, 27_580_719, 143_899_017_216, _DRCT, _attention(12, 4)),
    Variant("DRCT_x8", "DRCT", 8, 14_287_291, 84_338_982_912, _DRCT, _attention(6, 8)),
    Variant("DRCT-L_x8", "DRCT", 8, 27_728_431, 153_902_432_256, _DRCT, _attention(12, 8)),
    Variant("DRCT-XL_x4", "DRCT", 4, 32_061_099, 167_086_833_664, _DRCT, _attention(14, 4)),
    Variant("Real-DRCT-GAN_x4", "DRCT", 4, 14_139_579, 74_335_567_872, _DRCT, _attention(6, 4)),
    Variant("Real-HAT-GAN_x4", "HAT", 4, 20_772_507, 103_880_323_008, _HAT, _attention(6, 4)),
    Variant("MambaIR_x2", "MambaIR", 2, 20_421_863, 89_329_364_928, _MAMBAIR, _state_space(6, 2)),
    Variant("MambaIR_x3", "MambaIR", 3, 20_606_503, 90_119_729_088, _MAMBAIR, _state_space(6, 3)),
    Variant("MambaIR_x4", "MambaIR", 4, 20_569_575, 91_830_218_688, _MAMBAIR, _state_space(6, 4)),
    Variant("MambaIR-light_x2", "MambaIR", 2, 905_016, 4_110_046_848, _MAMBAIR, _mambair_light(2)),
    Variant("MambaIR-light_x3", "MambaIR", 3, 913_131, 4_143_224_448, _MAMBAIR, _mambair_light(3)),
    Variant("MambaIR-light_x4", "MambaIR", 4, 924_492, 4_189_673_088, _MAMBAIR, _mambair_light(4)),
    Variant("MambaDRCT_x2", "MambaDRCT", 2, 12_862_019, 56_098_429_056, _MAMBADRCT, _mambadrct(2)),
    Variant("MambaDRCT_x3", "MambaDRCT", 3, 13_046_659, 56_888_793_216, _MAMBADRCT, _mambadrct(3)),
    Variant("MambaDRCT_x4", "MambaDRCT", 4, 13_009_731, 58_599_282_816, _MAMBADRCT, _mambadrct(4)),
    Variant(
        "MambaDRCT-H_x2", "MambaDRCT", 2, 13_661_711, 66_070_043_136, _MAMBADRCT, _mambadrct(2, **_HYBRID)
    ),
    Variant(
        "MambaDRCT-H_x3", "MambaDRCT", 3, 13_846_351, 66_860_407_296, _MAMBADRCT, _mambadrct(3, **_HYBRID)
    ),
    Variant(
        "MambaDRCT-H_x4", "MambaDRCT", 4, 13_809_423, 68_570_896_896, _MAMBADRCT, _mambadrct(4, **_HYBRID)
    ),
    Variant(
        "MambaDRCT-full_x4", "MambaDRCT", 4, 28_553_277, 125_127_792_768, _MAMBADRCT, _mambadrct(4, **_FULL)
    ),
)


def find_variant(name: str) -> Variant:
    """The variant of this name.

    Raises:
        ConfigError: there is none; the message has the nearest valid name.
    """
    for variant in VARIANTS:
        if variant.name == name:
            return variant
    raise ConfigError(f"unknown model '{name}'; {did_you_mean(name, [v.name for v in VARIANTS])}")
