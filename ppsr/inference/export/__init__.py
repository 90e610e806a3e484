"""Exporting networks; checking, converting and caching exports."""
