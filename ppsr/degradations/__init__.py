"""Degradations as small functions with an explicit random generator, and pipelines built of them."""
