"""Scoring networks and finished images by named protocols: the layer above inference and metrics."""
