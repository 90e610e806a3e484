"""Networks: one file per network, no training code. Adding one: its file, a line here, a config."""

from ppsr.registry import GENERATORS

GENERATORS.lazy(
    {
        "BlindSR": "ppsr.generators.cddnet:BlindSR",
        "CDDNet": "ppsr.generators.cddnet:CDDNet",
        "DegradationPredictor": "ppsr.generators.degradation_predictor:DegradationPredictor",
    }
)
