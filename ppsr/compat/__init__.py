"""Differences between Paddle versions, the bridge to PaddleGAN, and converters of option files."""
