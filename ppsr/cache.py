"""The user's cache: files that can be made again, among them small JSON files of results."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from ppsr.files import atomic_write

logger = logging.getLogger(__name__)

_MOST_ENTRIES = 256  # of a file


def user_folder() -> Path:
    """`$PPSR_HOME`, else `ppsr` in the user's cache folder; it need not exist."""
    try:
        if home := os.environ.get("PPSR_HOME"):
            return Path(home).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ppsr"
    except RuntimeError:  # a user without a home, as in containers: like one that cannot be written
        return Path(os.devnull) / "ppsr"


def cache_folder() -> Path:
    """The user's folder for what can be made again; it need not exist."""
    return user_folder() / "cache" if os.environ.get("PPSR_HOME") else user_folder()


def cache_get(name: str) -> dict[str, Any]:
    """All entries of a JSON file of the cache; empty if it cannot be read."""
    try:
        found = json.loads((cache_folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def cache_put(name: str, key: str, value: Any) -> None:
    """Add an entry to a JSON file of the cache, which keeps the latest; a failure to write is only logged."""
    latest = [*cache_get(name).items(), (key, value)][-_MOST_ENTRIES:]
    try:
        atomic_write(cache_folder() / name, json.dumps(dict(latest), indent=1))
    except OSError as error:
        logger.debug("%s is not cached: %s", key, error)
