"""MambaDRCT: DRCT with MambaIR's state-space layers in place of its window attention.

The authors of DRCT (Hsu, Lee, Chou, CVPRW 2024, arXiv:2404.00722) report such an experiment and gave it up as
too slow; its code and weights are not public. This is a reconstruction from what they wrote: DRCT's groups
with their dense connections, in which chosen Swin blocks are replaced by the blocks of MambaIR (Guo et al.,
ECCV 2024, arXiv:2402.15648). It claims no compatibility with that experiment, and no accuracy is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.blocks.detection import (
    count,
    head_count,
    ratio,
    swin_arguments,
    swin_tail,
    window_arguments,
)
from ppsr.generators.blocks.layers import LayerNorm
from ppsr.generators.blocks.options import WindowOptions, takes
from ppsr.generators.blocks.transformer import DropPath, Mlp, SwinSkeleton
from ppsr.generators.blocks.vss import SS2D, VSSBlock
from ppsr.generators.drct import RDG, STAGES, stage_shape, swin_stage
from ppsr.generators.mambair import scan_kwargs
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["MambaDRCT"]

_PAPER = "none; defined here after a remark of DRCT's authors"
_BLOCKS = range(1, STAGES + 1)
_TYPES = ("vss", "ssmlp")
_HEADS = {"num_heads": (6,) * 6}
# every second block of a group scans; the others keep their windows
_HYBRID = {**_HEADS, "mamba_blocks": (0, 1, 0, 1, 0), "img_size": 64, "window_size": 16, "mlp_ratio": 2}
_FULL = {**_HEADS, "expand": 2.0, "is_light_cab": False}


class SSMlpBlock(nn.Layer):
    """x + SS2D, then x + MLP: a Swin block whose attention is a scan; tokens (N, H, W, C)."""

    def __init__(
        self, dim: int, d_state: int, expand: float, mlp_ratio: float, drop: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.ss2d = SS2D(dim, d_state, expand)
        self.drop_path = DropPath(drop_path)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.ss2d(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class MambaDRCT(SwinSkeleton):
    """LR image (N, C, H, W) in [0, 1] -> SR image (N, C, sH, sW).

    H and W are multiples of window_size where a Swin block is kept, else of any size.

    Args:
        depths: its length is the number of groups; its values only shape the stochastic depth.
        num_heads: number of heads in each group's first block, for the Swin blocks that are kept.
        mlp_ratio: hidden width of the MLP / width in the first three blocks of a group.
        drop_path_rate: stochastic depth; all blocks of a group share the group's first rate.
        gc: channels that a block adds.
        mamba_blocks: five flags, for the five blocks of every group: 1 a state-space block, 0 DRCT's own.
        mamba_type: vss (MambaIR's block; width at least 30) or ssmlp (a scan and DRCT's MLP).
        expand: inner width of the state-space layers / width.
        is_light_cab: light convolutions in the vss blocks.
    """

    fp16_safe: ClassVar[bool] = False
    onednn: ClassVar[bool] = False  # Paddle Inference runs the scan in half the time without it
    ignored_keys: ClassVar[tuple[str, ...]] = (r".*attn_mask", r".*relative_position_index")
    test_args: ClassVar[dict[str, Any]] = {
        "img_size": 8,
        "window_size": 4,
        "embed_dim": 30,
        "depths": [6],
        "num_heads": [2],
        "gc": 4,
        "mlp_ratio": 2,
        "upscale": 2,
        "upsampler": "pixelshuffle",
        "mamba_blocks": [0, 1, 0, 1, 0],
        "d_state": 3,
        "expand": 1.2,
    }
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("MambaDRCT_x2", 12_862_019, 56_098_429_056, _PAPER, scan_kwargs(6, 2, **_HEADS)),
        Variant("MambaDRCT_x3", 13_046_659, 56_888_793_216, _PAPER, scan_kwargs(6, 3, **_HEADS)),
        Variant("MambaDRCT_x4", 13_009_731, 58_599_282_816, _PAPER, scan_kwargs(6, 4, **_HEADS)),
        Variant("MambaDRCT-H_x2", 13_661_711, 66_070_043_136, _PAPER, scan_kwargs(6, 2, **_HYBRID)),
        Variant("MambaDRCT-H_x3", 13_846_351, 66_860_407_296, _PAPER, scan_kwargs(6, 3, **_HYBRID)),
        Variant("MambaDRCT-H_x4", 13_809_423, 68_570_896_896, _PAPER, scan_kwargs(6, 4, **_HYBRID)),
        Variant("MambaDRCT-full_x4", 28_553_277, 125_127_792_768, _PAPER, scan_kwargs(6, 4, **_FULL)),
    )

    @takes(WindowOptions)
    def __init__(
        self,
        options: WindowOptions,
        *,
        gc: int = 32,
        mamba_blocks: Sequence[int] = (1, 1, 1, 1, 1),
        mamba_type: str = "vss",
        d_state: int = 16,
        expand: float = 1.2,
        is_light_cab: bool = True,
    ) -> None:
        if len(mamba_blocks) != STAGES or any(flag not in (0, 1) for flag in mamba_blocks):
            raise ConfigError(
                f"MambaDRCT: mamba_blocks must be {STAGES} flags 0 or 1, got {list(mamba_blocks)}"
            )
        if mamba_type not in _TYPES:
            raise ConfigError(f"MambaDRCT: mamba_type must be {' or '.join(_TYPES)}, got '{mamba_type}'")
        super().__init__(options, ape=options.ape)
        self.size_multiple = 1 if all(mamba_blocks) else options.window()[0]
        self.use_checkpoint = options.use_checkpoint
        rates = options.drop_paths()

        def stage(k: int, heads: int, drop_path: float) -> nn.Layer:
            if not mamba_blocks[k - 1]:
                return swin_stage(k, heads, gc, options, drop_path)
            width, ratio = stage_shape(k, options.embed_dim, gc, options.mlp_ratio)
            if mamba_type == "vss":
                return VSSBlock(width, drop_path, d_state, expand, is_light_cab)
            return SSMlpBlock(width, d_state, expand, ratio, options.drop_rate, drop_path)

        self.layers = nn.LayerList()
        for i, (_, heads) in enumerate(options.groups()):
            stages = {
                f"{'mamba' if flag else 'swin'}{k}": stage(k, heads, rates[sum(options.depths[:i])])
                for k, flag in enumerate(mamba_blocks, 1)
            }
            self.layers.append(RDG(options.embed_dim, gc, stages))

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        """Constructor arguments, if these are the weights of this network.

        Without a Swin block, window and heads leave no trace: the heads are DRCT's six.
        """
        scans = [k for k in _BLOCKS if any(key.startswith(f"layers.0.mamba{k}.") for key in state)]
        if not scans:
            return None
        groups = count(state, r"layers\.(\d+)\.")
        width, grown = state["conv_first.weight"].shape[0], state["layers.0.adjust1.weight"].shape[0]
        widths = {k: stage_shape(k, width, grown, 1)[0] for k in _BLOCKS}
        swin = [k for k in _BLOCKS if k not in scans]
        vss = f"layers.0.mamba{scans[0]}.ln_1.weight" in state
        layers = {k: f"layers.0.mamba{k}.{'self_attention' if vss else 'ss2d'}." for k in scans}
        arguments = swin_arguments(state)
        heads = [6] * groups
        if swin:
            arguments = window_arguments(state, f"layers.0.swin{swin[0]}.", shifts=bool({2, 4} & {*swin}))
            heads = [_num_heads(state, i, {k: widths[k] for k in swin}) for i in range(groups)]
        hidden = {k: f"layers.0.{'swin' if k in swin else 'mamba'}{k}.mlp.fc1.bias" for k in (1, 2, 3)}
        pairs = [(widths[k], state[key].shape[0]) for k, key in hidden.items() if key in state]
        arguments.pop("mlp_ratio", None)  # the first Swin block may be one of those with the ratio 1
        if pairs:
            arguments["mlp_ratio"] = ratio(pairs)
        if vss:
            arguments["is_light_cab"] = f"layers.0.mamba{scans[0]}.conv_blk.cab.1.weight" in state
        return {
            **arguments,
            "depths": [6] * groups,
            "num_heads": heads,
            "gc": grown,
            "mamba_blocks": [int(k in scans) for k in _BLOCKS],
            "mamba_type": "vss" if vss else "ssmlp",
            "d_state": state[f"{layers[scans[0]]}A_logs"].shape[1],
            "expand": ratio(
                (widths[k], state[f"{name}out_norm.bias"].shape[0]) for k, name in layers.items()
            ),
            **swin_tail(state),
        }


def _num_heads(state: StateDict, group: int, swin: Mapping[int, int]) -> int:
    """The smallest number for which DRCT's rule gives the heads of all kept Swin blocks (number -> width)."""
    wanted = {k: head_count(state, f"layers.{group}.swin{k}.") for k in swin}
    for heads in range(1, max(swin.values()) + 1):
        if all(wanted[k] == (heads if k == 1 else heads - width % heads) for k, width in swin.items()):
            return heads
    raise ValueError(f"no number of heads gives {wanted} in the Swin blocks of group {group}")
