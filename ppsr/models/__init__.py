"""Training algorithms: the networks, and what their losses are. One file per algorithm."""

from ppsr.registry import MODELS

MODELS.lazy(
    {
        "CDDNet": "ppsr.models.cddnet:CDDNetModel",
        "DRN": "ppsr.models.drn:DRNModel",
        "SRModel": "ppsr.models.sr:SRModel",
    }
)
