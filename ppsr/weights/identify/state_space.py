"""Detectors of state-space networks: MambaIR, MambaDRCT."""

from __future__ import annotations

from ppsr.errors import WeightError
from ppsr.weights.identify.attention import attention, depths, head_count, tokens, upsampling
from ppsr.weights.identify.shapes import Found, State, connection, count, ratio, steps

__all__ = ["mambadrct", "mambair"]

_STAGES = range(1, 6)


def mambair(state: State) -> Found:
    width, channels = state["conv_first.weight"].shape[:2]
    layer = "layers.0.residual_group.blocks.0.self_attention."
    upsampler, scale = upsampling(state)
    return "MambaIR", {
        "in_chans": channels,
        "embed_dim": width,
        "depths": depths(state),
        "d_state": state[f"{layer}A_logs"].shape[1],
        "mlp_ratio": ratio([(width, state[f"{layer}out_norm.bias"].shape[0])]),
        "patch_norm": "patch_embed.norm.weight" in state,
        "upscale": scale,
        "upsampler": upsampler,
        "resi_connection": connection(state),
    }


def mambadrct(state: State) -> Found:
    """Without a Swin block, window and heads leave no trace: the heads are DRCT's six."""
    groups = count(state, r"layers\.(\d+)\.")
    width = state["conv_first.weight"].shape[0]
    grown = state["layers.0.adjust1.weight"].shape[0]
    widths = {k: width + (k - 1) * grown for k in _STAGES}
    swin = [k for k in _STAGES if f"layers.0.swin{k}.norm1.weight" in state]
    scans = [k for k in _STAGES if k not in swin]
    vss = f"layers.0.mamba{scans[0]}.ln_1.weight" in state
    layers = {k: f"layers.0.mamba{k}.{'self_attention' if vss else 'ss2d'}." for k in scans}
    facts = tokens(state)
    heads = [6] * groups
    if swin:
        facts = attention(state, f"layers.0.swin{swin[0]}.", bool({2, 4} & {*swin}))
        heads = [_num_heads(state, i, [(k, widths[k]) for k in swin]) for i in range(groups)]
    hidden = {k: f"layers.0.{'swin' if k in swin else 'mamba'}{k}.mlp.fc1.bias" for k in _STAGES[:3]}
    pairs = [(widths[k], state[key].shape[0]) for k, key in hidden.items() if key in state]
    facts.pop("mlp_ratio", None)  # of the first Swin block, which may be one of those with the ratio 1
    if pairs:
        facts["mlp_ratio"] = ratio(pairs)
    if vss:
        facts["is_light_cab"] = f"layers.0.mamba{scans[0]}.conv_blk.cab.1.weight" in state
    return "MambaDRCT", {
        **facts,
        "depths": [6] * groups,
        "num_heads": heads,
        "gc": grown,
        "mamba_blocks": [int(k in scans) for k in _STAGES],
        "mamba_type": "vss" if vss else "ssmlp",
        "d_state": state[f"{layers[scans[0]]}A_logs"].shape[1],
        "expand": ratio((widths[k], state[f"{layer}out_norm.bias"].shape[0]) for k, layer in layers.items()),
        "upscale": steps(state, "upsample."),
        "upsampler": "pixelshuffle",
        "resi_connection": connection(state),
    }


def _num_heads(state: State, group: int, swin: list[tuple[int, int]]) -> int:
    """The smallest number for which DRCT's rule gives the heads of all kept Swin blocks (number, width).

    Raises:
        WeightError: there is none.
    """
    wanted = {k: head_count(state, f"layers.{group}.swin{k}.") for k, _ in swin}
    for heads in range(1, max(width for _, width in swin) + 1):
        if all(wanted[k] == (heads if k == 1 else heads - width % heads) for k, width in swin):
            return heads
    raise WeightError(f"no number of heads gives {wanted} in the Swin blocks of group {group}")
