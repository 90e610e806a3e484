"""Losses; each returns a float32 scalar."""

from ppsr.registry import CRITERIONS

CRITERIONS.lazy(
    {
        "AlignmentLoss": "ppsr.criterions.alignment:AlignmentLoss",
        "ArtifactLoss": "ppsr.criterions.artifact:ArtifactLoss",
        "CharbonnierLoss": "ppsr.criterions.pixel:CharbonnierLoss",
        "GANLoss": "ppsr.criterions.gan:GANLoss",
        "L1Loss": "ppsr.criterions.pixel:L1Loss",
        "LPIPSLoss": "ppsr.criterions.lpips:LPIPSLoss",
        "MSELoss": "ppsr.criterions.pixel:MSELoss",
        "PerceptualLoss": "ppsr.criterions.perceptual:PerceptualLoss",
    }
)
