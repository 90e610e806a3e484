"""Looking inside networks: LAM, channel saliency, deep degradation representation, feature maps."""

from ppsr.analysis.csm import ablate, channel_saliency, cumulative_gains, single_gains
from ppsr.analysis.ddr import calinski_harabasz, degraded_patches, embed, layer_features, principal_components
from ppsr.analysis.feature_maps import feature_maps, statistics
from ppsr.analysis.figures import (
    draw_ablation,
    draw_ddr,
    draw_depth,
    draw_lam,
    draw_saliency,
    draw_sheet,
    save_figure,
)
from ppsr.analysis.lam import LamSettings, lam
from ppsr.analysis.layers import inspect_layers

__all__ = [
    "LamSettings",
    "ablate",
    "calinski_harabasz",
    "channel_saliency",
    "cumulative_gains",
    "degraded_patches",
    "draw_ablation",
    "draw_ddr",
    "draw_depth",
    "draw_lam",
    "draw_saliency",
    "draw_sheet",
    "embed",
    "feature_maps",
    "inspect_layers",
    "lam",
    "layer_features",
    "principal_components",
    "save_figure",
    "single_gains",
    "statistics",
]
