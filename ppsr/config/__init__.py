"""Reading, checking and overriding YAML configurations."""

from ppsr.config.check import check_config
from ppsr.config.loader import load_config

__all__ = ["check_config", "load_config"]
