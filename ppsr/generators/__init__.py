"""Networks: one file per network, no training code. Adding one: its file, a line here, a config."""

from ppsr.registry import GENERATORS

GENERATORS.lazy(
    {
        "DRCT": "ppsr.generators.drct:DRCT",
        "MambaDRCT": "ppsr.generators.mambadrct:MambaDRCT",
        "MambaIR": "ppsr.generators.mambair:MambaIR",
        "HAT": "ppsr.generators.hat:HAT",
        "SwinIR": "ppsr.generators.swinir:SwinIR",
        "BlindSR": "ppsr.generators.cddnet:BlindSR",
        "CDDNet": "ppsr.generators.cddnet:CDDNet",
        "DegradationPredictor": "ppsr.generators.degradation_predictor:DegradationPredictor",
        "MSRResNet": "ppsr.generators.msrresnet:MSRResNet",
        "RRDBNet": "ppsr.generators.rrdbnet:RRDBNet",
        "DRNGenerator": "ppsr.generators.drn:DRNGenerator",
        "DRNDual": "ppsr.generators.drn:DRNDual",
        "RCAN": "ppsr.generators.rcan:RCAN",
        "ESPCN": "ppsr.generators.espcn:ESPCN",
        "FSRCNN": "ppsr.generators.fsrcnn:FSRCNN",
        "IMDN": "ppsr.generators.imdn:IMDN",
        "SRVGGNetCompact": "ppsr.generators.srvgg:SRVGGNetCompact",
    }
)
