"""Tiles: cutting and joining, sizes that fit into memory, the published tile loops."""
