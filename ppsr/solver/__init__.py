"""Optimizers, learning-rate schedules, exponential moving average."""

from ppsr.registry import LRSCHEDULERS, OPTIMIZERS

LRSCHEDULERS.lazy(
    {
        name: f"ppsr.solver.schedules:{name}"
        for name in (
            "ConstantLR",
            "CosineAnnealingRestartLR",
            "LinearDecay",
            "MultiStepDecay",
            "NonLinearDecay",
        )
    }
)
OPTIMIZERS.lazy(
    {
        "SOAP": "ppsr.solver.soap:SOAP",
        **{
            name: f"ppsr.solver.optimizers:{name}" for name in ("Adam", "AdamW", "Momentum", "RMSProp", "SGD")
        },
    }
)
