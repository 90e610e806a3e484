"""MambaIR: image restoration with a state-space model.

Guo et al., ECCV 2024, arXiv:2402.15648; https://github.com/csguoh/MambaIR (its first version; MambaIRv2 is
another network). The networks take images of any size. What differs: the scans are tensor operations
instead of CUDA kernels, and recomputing blocks (`use_checkpoint`) works.
"""

from __future__ import annotations

from typing import Any, ClassVar

from paddle import nn

from ppsr.generators.blocks.detection import group_depths, ratio, swin_arguments, swin_tail
from ppsr.generators.blocks.options import TokenOptions, takes
from ppsr.generators.blocks.transformer import SwinSkeleton
from ppsr.generators.blocks.vss import VSSBlock
from ppsr.generators.swinir import RSTB
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["MambaIR", "scan_kwargs"]

_PAPER = "MambaIR, ECCV 2024, arXiv:2402.15648"
_LIGHT = {"embed_dim": 60, "d_state": 10, "mlp_ratio": 1.2, "upsampler": "pixelshuffledirect"}


def scan_kwargs(groups: int, scale: int, **changes: Any) -> dict[str, Any]:
    """The settings that the published MambaIR and the variants of MambaDRCT share."""
    shared = {"embed_dim": 180, "depths": (6,) * groups, "d_state": 16, "upsampler": "pixelshuffle"}
    return {**shared, "upscale": scale, **changes}


class MambaIR(SwinSkeleton):
    """LR image (N, C, H, W) in [0, 1] -> SR image (N, C, sH, sW).

    Args:
        mlp_ratio: inner width of the state-space layer / width (the blocks have no MLP).
        upsampler: pixelshuffle, pixelshuffledirect (with light convolutions in every block), or '' or None
            (denoising, upscale 1).
    """

    upsamplers: ClassVar[tuple[str, ...]] = ("pixelshuffle", "pixelshuffledirect", "")
    fp16_safe: ClassVar[bool] = False  # never tried in half precision; the recurrence is in float32 anyway
    onednn: ClassVar[bool] = False  # Paddle Inference runs the scan in half the time without it
    test_args: ClassVar[dict[str, Any]] = {
        "embed_dim": 32,
        "depths": [1, 1],
        "d_state": 3,
        "mlp_ratio": 1.2,
        "upscale": 2,
        "upsampler": "pixelshuffledirect",
    }
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("MambaIR_x2", 20_421_863, 89_329_364_928, _PAPER, scan_kwargs(6, 2)),
        Variant("MambaIR_x3", 20_606_503, 90_119_729_088, _PAPER, scan_kwargs(6, 3)),
        Variant("MambaIR_x4", 20_569_575, 91_830_218_688, _PAPER, scan_kwargs(6, 4)),
        Variant("MambaIR-light_x2", 905_016, 4_110_046_848, _PAPER, scan_kwargs(4, 2, **_LIGHT)),
        Variant("MambaIR-light_x3", 913_131, 4_143_224_448, _PAPER, scan_kwargs(4, 3, **_LIGHT)),
        Variant("MambaIR-light_x4", 924_492, 4_189_673_088, _PAPER, scan_kwargs(4, 4, **_LIGHT)),
    )

    @takes(TokenOptions, mlp_ratio=2.0, upsampler="")
    def __init__(self, options: TokenOptions, *, d_state: int = 16) -> None:
        super().__init__(options)
        rates = iter(options.drop_paths())
        width, light = options.embed_dim, self.upsampler == "pixelshuffledirect"
        self.layers = nn.LayerList()
        for depth in options.depths:
            blocks = [VSSBlock(width, next(rates), d_state, options.mlp_ratio, light) for _ in range(depth)]
            self.layers.append(RSTB(blocks, width, options.resi_connection, options.use_checkpoint))

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        layer = "layers.0.residual_group.blocks.0.self_attention."
        if f"{layer}A_logs" not in state:
            return None
        arguments = swin_arguments(state)
        del arguments["ape"]
        return {
            **arguments,
            **swin_tail(state),
            "depths": group_depths(state),
            "d_state": state[f"{layer}A_logs"].shape[1],
            "mlp_ratio": ratio([(arguments["embed_dim"], state[f"{layer}out_norm.bias"].shape[0])]),
        }
