"""Upscaling, tiling, export and deployment."""
