"""DRCT: dense residual connected transformer.

Hsu, Lee, Chou, CVPRW 2024, arXiv:2404.00722; https://github.com/ming053l/DRCT. Constructor arguments that the
published code accepts and ignores are accepted here for its option files, and said to be so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn

from ppsr import accelerate
from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, leaky_relu
from ppsr.generators.blocks.detection import count, head_count, ratio, swin_tail, window_arguments
from ppsr.generators.blocks.options import WindowOptions, takes
from ppsr.generators.blocks.transformer import SwinSkeleton, on_tokens
from ppsr.generators.swinir import SwinBlock
from ppsr.generators.variants import Variant, window_kwargs
from ppsr.weights.identify import StateDict

__all__ = ["DRCT", "RDG", "heads_for", "stage_shape", "swin_stage"]

_PAPER = "DRCT, CVPRW 2024, arXiv:2404.00722"
STAGES = 5  # blocks of a group


def heads_for(width: int, num_heads: int) -> int:
    """Heads of a block of some width, by the published rule: num_heads - width mod num_heads."""
    heads = num_heads - width % num_heads
    if width % heads:
        raise ConfigError(
            f"DRCT: {num_heads} heads give {heads} for a width of {width}, which it does not divide"
        )
    return heads


def stage_shape(k: int, dim: int, gc: int, mlp_ratio: float) -> tuple[int, float]:
    """Width and MLP ratio of block k of a group; the last two blocks have the ratio 1."""
    return dim + (k - 1) * gc, mlp_ratio if k <= 3 else 1


def swin_stage(k: int, num_heads: int, gc: int, options: WindowOptions, drop_path: float) -> SwinBlock:
    """Swin block k (from 1) of a group; the second and the fourth shift.

    Args:
        num_heads: number of heads in the first block; see `heads_for` for the others.
        gc: channels that each of the first four blocks adds.
    """
    width, mlp_ratio = stage_shape(k, options.embed_dim, gc, options.mlp_ratio)
    heads = heads_for(width, num_heads) if k > 1 else num_heads
    window, shift = options.window()
    return SwinBlock(width, heads, window, shift if k in (2, 4) else 0, mlp_ratio, **options.block(drop_path))


class RDG(nn.Layer):
    """Five blocks, each on all earlier outputs of the group; 0.2 times the last plus the input.

    Args:
        gc: channels that each of the first four blocks adds.
        stages: the blocks by their names; block k is `stage_shape` wide.
    """

    def __init__(self, dim: int, gc: int, stages: Mapping[str, nn.Layer]) -> None:
        super().__init__()
        self.stages = tuple(stages)
        for k, (name, stage) in enumerate(stages.items(), 1):
            self.add_sublayer(name, stage)
            width, _ = stage_shape(k, dim, gc, 1)
            self.add_sublayer(f"adjust{k}", Conv2D(width, gc if k < STAGES else dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for k, name in enumerate(self.stages, 1):
            dense = outputs[0] if k == 1 else paddle.concat(outputs, axis=-1)
            grown = on_tokens(getattr(self, f"adjust{k}"), getattr(self, name)(dense))
            outputs.append(leaky_relu(grown, 0.2) if k < STAGES else grown)
        if not accelerate.usable(x):
            return outputs[-1] * 0.2 + x
        return accelerate.scaled_sum(outputs[-1], paddle.full([x.shape[0], x.shape[-1]], 0.2), x)


class DRCT(SwinSkeleton):
    """LR image (N, C, H, W) in [0, 1], H and W multiples of window_size -> SR image (N, C, sH, sW).

    Args:
        depths: its length is the number of groups; its values only shape the stochastic depth.
        num_heads: number of heads in each group's first block.
        compress_ratio: accepted, without effect, as in the published code.
        squeeze_factor: the same.
        conv_scale: the same.
        overlap_ratio: the same.
        mlp_ratio: hidden width of the MLP / width in the first three blocks of a group.
        drop_path_rate: stochastic depth; all blocks of a group share the group's first rate.
        use_checkpoint: recompute groups in backward (the published code accepts this without effect).
        gc: channels that a block adds.
    """

    fp16_safe: ClassVar[bool] = False
    ignored_keys: ClassVar[tuple[str, ...]] = (r".*attn_mask", r".*relative_position_index")
    test_args: ClassVar[dict[str, Any]] = {
        "img_size": 8,
        "window_size": 4,
        "embed_dim": 12,
        "depths": [6],
        "num_heads": [2],
        "gc": 4,
        "mlp_ratio": 2,
        "upscale": 2,
        "upsampler": "pixelshuffle",
    }
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("DRCT_x2", 13_991_867, 71_834_714_112, _PAPER, window_kwargs(6, 2)),
        Variant("DRCT_x3", 14_176_507, 72_625_078_272, _PAPER, window_kwargs(6, 3)),
        Variant("DRCT_x4", 14_139_579, 74_335_567_872, _PAPER, window_kwargs(6, 4)),
        Variant("DRCT-L_x2", 27_433_007, 141_398_163_456, _PAPER, window_kwargs(12, 2)),
        Variant("DRCT-L_x3", 27_617_647, 142_188_527_616, _PAPER, window_kwargs(12, 3)),
        Variant("DRCT-L_x4", 27_580_719, 143_899_017_216, _PAPER, window_kwargs(12, 4)),
        Variant("DRCT_x8", 14_287_291, 84_338_982_912, _PAPER, window_kwargs(6, 8)),
        Variant("DRCT-L_x8", 27_728_431, 153_902_432_256, _PAPER, window_kwargs(12, 8)),
        Variant("DRCT-XL_x4", 32_061_099, 167_086_833_664, _PAPER, window_kwargs(14, 4)),
        Variant("Real-DRCT-GAN_x4", 14_139_579, 74_335_567_872, _PAPER, window_kwargs(6, 4)),
    )

    @takes(WindowOptions)
    def __init__(
        self,
        options: WindowOptions,
        *,
        compress_ratio: int = 3,
        squeeze_factor: int = 30,
        conv_scale: float = 0.01,
        overlap_ratio: float = 0.5,
        gc: int = 32,
    ) -> None:
        super().__init__(options, ape=options.ape)
        self.size_multiple = options.window()[0]
        self.use_checkpoint = options.use_checkpoint
        rates = options.drop_paths()
        self.layers = nn.LayerList()
        for i, (_, heads) in enumerate(options.groups()):
            drop_path = rates[sum(options.depths[:i])]
            stages = {f"swin{k}": swin_stage(k, heads, gc, options, drop_path) for k in range(1, STAGES + 1)}
            self.layers.append(RDG(options.embed_dim, gc, stages))

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        first = "layers.0.swin1.norm1.weight" in state
        if not first or any(key.startswith("layers.0.mamba") for key in state):
            return None
        groups = count(state, r"layers\.(\d+)\.")
        if sum(".attn.proj.weight" in key for key in state) != STAGES * groups:
            raise ValueError("every group of DRCT has five attention blocks, this file has others")
        width, grown = state["conv_first.weight"].shape[0], state["layers.0.adjust1.weight"].shape[0]
        inner = {k: state[f"layers.0.swin{k}.mlp.fc1.bias"].shape[0] for k in (1, 2, 3)}
        return {
            **window_arguments(state, "layers.0.swin1.", shifts=True),
            "mlp_ratio": ratio((stage_shape(k, width, grown, 1)[0], hidden) for k, hidden in inner.items()),
            "depths": [6] * groups,
            "num_heads": [head_count(state, f"layers.{i}.swin1.") for i in range(groups)],
            "gc": grown,
            **swin_tail(state),
        }
