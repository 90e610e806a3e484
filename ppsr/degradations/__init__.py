"""Degradations as small functions with an explicit random generator, and pipelines built of them."""

from ppsr.registry import DEGRADATION_STEPS

DEGRADATION_STEPS.lazy(
    {
        "blur": "ppsr.degradations.steps:BlurStep",
        "jpeg": "ppsr.degradations.steps:JpegStep",
        "noise": "ppsr.degradations.steps:NoiseStep",
        "random_order": "ppsr.degradations.steps:RandomOrder",
        "resize": "ppsr.degradations.steps:ResizeStep",
        "sinc": "ppsr.degradations.steps:SincStep",
        "unsharp": "ppsr.degradations.steps:UnsharpStep",
        "video": "ppsr.degradations.codecs:VideoStep",
        "webp": "ppsr.degradations.codecs:WebPStep",
    }
)
