"""Losses; each returns a float32 scalar."""

from ppsr.registry import CRITERIONS

CRITERIONS.lazy(
    {
        "AlignmentLoss": "ppsr.criterions.alignment:AlignmentLoss",
        "ArtifactLoss": "ppsr.criterions.artifact:ArtifactLoss",
        "CharbonnierLoss": "ppsr.criterions.pixel:CharbonnierLoss",
        "ColorLoss": "ppsr.criterions.color:ColorLoss",
        "DISTSLoss": "ppsr.criterions.dists:DISTSLoss",
        "FocalFrequencyLoss": "ppsr.criterions.frequency:FocalFrequencyLoss",
        "GANLoss": "ppsr.criterions.gan:GANLoss",
        "GradientLoss": "ppsr.criterions.pixel:GradientLoss",
        "HuberLoss": "ppsr.criterions.pixel:HuberLoss",
        "L1Loss": "ppsr.criterions.pixel:L1Loss",
        "LPIPSLoss": "ppsr.criterions.lpips:LPIPSLoss",
        "MSELoss": "ppsr.criterions.pixel:MSELoss",
        "MSSSIMLoss": "ppsr.criterions.ssim:MSSSIMLoss",
        "PerceptualLoss": "ppsr.criterions.perceptual:PerceptualLoss",
    }
)
