"""Discriminators of the GAN recipes."""

from ppsr.registry import DISCRIMINATORS

DISCRIMINATORS.lazy(
    {
        "MultiScaleDiscriminator": "ppsr.discriminators.patch:MultiScaleDiscriminator",
        "NLayerDiscriminator": "ppsr.discriminators.patch:NLayerDiscriminator",
        "UNetDiscriminatorSN": "ppsr.discriminators.unet:UNetDiscriminatorSN",
    }
)
