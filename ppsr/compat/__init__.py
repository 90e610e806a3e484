"""Differences between Paddle versions, and the bridge to PaddleGAN."""
