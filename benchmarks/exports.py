"""Every registered network at its default size, exported with open sizes, against the network itself.

    python benchmarks/exports.py [--only HAT] [--formats paddle]

One JSON line per network:
    {"name": "exports", "case": "HAT", "value": <largest relative error of all backends>, "unit": "",
     "errors": {"inference": ..., "inference without oneDNN": ..., "onnxruntime": ..., "openvino": ...},
     "parameters": ..., "export_seconds": ..., "paddle": "3.3.1", "reasons": {...}}

Errors are relative to the largest value of the answer, the largest over two images whose batch, height and
width differ from each other and from what was traced. Every backend runs in a process of its own; one that
fails has no error and states its reason. Weights are freshly initialised. Networks that need arguments are
those of `ppsr.generators.variants`.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle


def default_network(name: str):
    """A network of a registered class, without arguments where it can be."""
    from ppsr.generators.variants import all_variants
    from ppsr.registry import GENERATORS

    paddle.seed(0)
    parameters = inspect.signature(GENERATORS.get(name).__init__).parameters.values()
    if any(p.default is p.empty and p.kind is p.KEYWORD_ONLY for p in parameters):
        return next(v for v in all_variants() if v.generator == name).build()
    return GENERATORS.build({"name": name})


def measure(name: str, formats: list[str]) -> dict:
    """Export one network and try every backend on it."""
    from ppsr.inference.backends.benchmark import benchmark_backends
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export.writer import export_network

    net = default_network(name)
    options = BackendOptions()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        export = export_network(net, Path(folder, "net"), formats=formats, verify=())
        seconds = time.perf_counter() - start
        results = {r.backend: r for r in benchmark_backends(export, options)}
        plain = replace(options, onednn=False)
        results["inference without oneDNN"] = benchmark_backends(export, plain, names=["inference"])[0]
    errors = {b: r.error for b, r in results.items() if r.error is not None}
    return {
        "name": "exports",
        "case": name,
        "value": max(errors.values(), default=None),
        "unit": "",
        "errors": {b: float(f"{e:.2g}") for b, e in errors.items()},
        "parameters": int(sum(np.prod(p.shape) for p in net.parameters())),
        "export_seconds": round(seconds, 1),
        "paddle": paddle.__version__,
        "reasons": {b: r.reason for b, r in results.items() if r.reason},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="networks whose name contains this text")
    parser.add_argument("--formats", help="of paddle and onnx; default: all that can be made here")
    options = parser.parse_args()
    from ppsr import accelerate
    from ppsr.inference.export import onnx_graph
    from ppsr.registry import GENERATORS

    accelerate.enable()
    formats = options.formats or ("paddle" if onnx_graph.missing_packages() else "paddle,onnx")
    names = [
        name
        for name in GENERATORS.names()
        if options.only.lower() in name.lower()
        and getattr(GENERATORS.get(name), "produces_image", True)
        and not hasattr(GENERATORS.get(name), "example_inputs")
    ]
    for name in names:
        print(json.dumps(measure(name, formats.split(","))), flush=True)
    return 0 if names else 2


if __name__ == "__main__":
    sys.exit(main())
