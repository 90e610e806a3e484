"""Training algorithms: the networks, and what their losses are. One file per algorithm."""

from ppsr.registry import MODELS

MODELS.lazy(
    {
        "CDDNet": "ppsr.models.cddnet:CDDNetModel",
        "SRModel": "ppsr.models.sr:SRModel",
    }
)
