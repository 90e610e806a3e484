"""Discriminators of the GAN recipes."""

from ppsr.registry import DISCRIMINATORS

DISCRIMINATORS.lazy({"UNetDiscriminatorSN": "ppsr.discriminators.unet:UNetDiscriminatorSN"})
