"""`ppsr cache`."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

# part of the cache -> what it holds; downloaded weights may be in the same folder and are kept
_PARTS = {
    "exports": "networks exported for --backend",
    "tensorrt": "engines of TensorRT",
    "backends.json": "choices of --backend auto",
}


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove everything listed; ppsr rebuilds what it needs.")
    ] = False,
) -> None:
    """List what --backend keeps between runs: exported networks, engines, and choices of `auto`."""
    from ppsr.cache import cache_folder
    from ppsr.memory import readable_size

    print(cache_folder())
    for name, about in _PARTS.items():
        path = cache_folder() / name
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        print(f"  {name:<14} {readable_size(size):>11}  {about}" + (", removed" if clear and files else ""))
        if clear and path.is_file():
            path.unlink()
        elif clear:
            shutil.rmtree(path, ignore_errors=True)
