"""Bars of reliability, with a thirtieth of their cases by default: see tests/bars.py."""
