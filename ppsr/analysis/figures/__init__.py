"""Figures of the analyses, drawn by matplotlib without a display and without global state."""
