"""Training and evaluation machinery; it names no algorithm."""
