"""Training algorithms: the networks, and what their losses are. One file per algorithm."""

from ppsr.registry import MODELS

MODELS.lazy(
    {
        "AlignModel": "ppsr.models.align:AlignModel",
        "CDDNet": "ppsr.models.cddnet:CDDNetModel",
        "DRN": "ppsr.models.drn:DRNModel",
        "SRModel": "ppsr.models.sr:SRModel",
    }
)
