"""Opening a backend by name, or the fastest installed one that passes verification."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path

from paddle import nn

from ppsr.cache import cache_get, cache_put
from ppsr.errors import ConfigError, DataError, PpsrError, did_you_mean, first_line
from ppsr.generators.network_info import NetworkInfo
from ppsr.inference.backends.base import Backend, PaddleBackend
from ppsr.inference.backends.benchmark import (
    BACKENDS,
    BackendResult,
    backend_class,
    benchmark_backends,
    installed,
    seconds_of,
    timed_image,
    try_backend,
)
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.export import onnx_graph
from ppsr.inference.export.artifact import Export
from ppsr.inference.export.cache import cache_place, find_cached, make_export, versions
from ppsr.inference.export.writer import ncnn_arguments
from ppsr.memory import is_out_of_memory
from ppsr.precision import half_dtype
from ppsr.processor import has_bfloat16, processor_name

__all__ = ["default_backend", "open_backend"]

logger = logging.getLogger(__name__)

_SIDES = 32, 192  # of the tile that `auto` times, at least and at most
_CHOICES = "backends.json"
_WORTH_EXPORTING = 64 * _SIDES[1] ** 2  # pixels; `auto` computes some 30 such tiles before the first image


def default_backend(pixels: Iterable[int], options: BackendOptions) -> str | None:
    """The backend for weights where none is asked for: "auto" if so many LR pixels on a CPU repay an export.

    The number of pixels alone decides, not what the cache has, so the same command gives the same result.

    Args:
        pixels: of each input, counted until there are enough of them.
    """
    if options.on_gpu or options.precision != "fp32":
        return None
    return "auto" if any(total >= _WORTH_EXPORTING for total in accumulate(pixels)) else None


def open_backend(
    source: nn.Layer | str | Path,
    name: str | None = None,
    options: BackendOptions | None = None,
    *,
    tile: int | None = None,
) -> Backend:
    """Make a network ready to run.

    Args:
        source: a network in dynamic mode, or the prefix or folder of an exported one.
        name: "paddle" runs a network as it is; "inference", "onnxruntime", "openvino", "tensorrt" and "ncnn"
            run an export (a network is exported to a temporary folder first); "auto" takes the fastest
            installed one that passes verification; its `note` and the log say which. None: a network as it
            is, an export by "auto".
        tile: side of the tiles to come, in LR pixels, on which "auto" times the backends (at most 192).

    Raises:
        ConfigError: unknown name, missing package, or an option that the backend lacks.
        DataError: an incomplete export, or one that this machine computes wrongly.

    Example:
        >>> backend = open_backend("exported/net", "auto")
        >>> backend.name, backend.note
        ('openvino', 'the fastest of openvino 41 ms, onnxruntime 55 ms, inference 60 ms')
    """
    options = options or BackendOptions()
    if name is not None and name not in BACKENDS:
        raise ConfigError(f"unknown backend '{name}'; {did_you_mean(name, BACKENDS)}")
    side = min(max(tile or _SIDES[1], _SIDES[0]), _SIDES[1])
    if isinstance(source, nn.Layer):
        return _open_network(source, name or "paddle", options, side)
    if name == "paddle":
        raise ConfigError(
            "backend paddle runs networks from weights (--load); an export runs on 'inference', which is "
            "Paddle's runtime, or on 'auto'"
        )
    export, note = Export(source), ""
    options = _safe(options, export.info)
    if name in (None, "auto"):
        name, note = _fastest(export, options, side, {})
    elif not (options.trust or export.made_here):
        _try_once(export, name, options)
    return _open_export(export, name, options, note)


def _open_network(net: nn.Layer, name: str, options: BackendOptions, side: int) -> Backend:
    """Use a cached export or make one; an export that is not cached is removed with the backend."""
    if name == "paddle" and options.precision == "bf16" and not options.on_gpu:
        raise ConfigError("backend paddle computes in fp32 on a CPU; use backend auto for bf16")
    if name == "paddle":
        return PaddleBackend(net, precision=options.precision)
    formats = _formats(name, net, options)
    place = cache_place(net, formats)
    if (kept := find_cached(place)) is not None:
        try:
            return _open_made(kept, name, options, side, net)
        except DataError as error:
            logger.warning("%s: the cached export cannot be used, exporting again", error)
    started = time.perf_counter()
    try:
        export, folder = make_export(net, formats, place)
    except Exception as error:  # any of a network that cannot be traced
        if name != "auto" or options.precision == "bf16":
            raise
        logger.warning("%s cannot be exported, so it runs on paddle: %s", type(net).__name__, error)
        return PaddleBackend(net, precision=options.precision)
    logger.info("exported in %.1f s", time.perf_counter() - started)
    made_here = options if folder is None else replace(options, trust=True)
    backend = _open_made(export, name, made_here, side, net)
    if isinstance(backend, ExportedBackend):
        backend.temporary_folder = folder
    return backend


def _open_made(export: Export, name: str, options: BackendOptions, side: int, net: nn.Layer) -> Backend:
    options, note = _safe(options, export.info), ""
    if name == "auto":
        dygraph: dict[str, PaddleBackend] = {}
        if options.precision == "fp32" or half_dtype(export.info.fp16_safe) != "float32":
            dygraph["paddle"] = PaddleBackend(net, precision=options.precision)
        name, note = _fastest(export, options, side, dygraph)
        if name == "paddle":
            dygraph["paddle"].note = note
            return dygraph["paddle"]
    return _open_export(export, name, options, note)


def _formats(name: str, net: nn.Layer, options: BackendOptions) -> list[str]:
    """Export formats that a backend reads; for "auto", all that this machine can write and run."""
    if name != "auto":
        return {"inference": ["paddle"], "ncnn": ["ncnn"]}.get(name, ["paddle", "onnx"])
    formats = ["paddle"] if onnx_graph.missing_packages() else ["paddle", "onnx"]
    has_ncnn = backend_class("ncnn").is_available(options) and ncnn_arguments(net) is not None
    return [*formats, "ncnn"] if has_ncnn else formats


def _open_export(export: Export, name: str, options: BackendOptions, note: str) -> ExportedBackend:
    try:
        backend = backend_class(name)(export, options)
        _, psnr = backend.verify()
    except Exception as error:  # runtimes raise what they like about files that are damaged
        if isinstance(error, PpsrError) or is_out_of_memory(error):
            raise
        logger.debug("backend %s failed", name, exc_info=True)
        raise DataError(
            f"backend {name} cannot run {export.prefix}: {first_line(error)}; export again"
        ) from None
    if options.precision != "fp32":
        reduced = f"{options.precision}, {psnr:.2f} dB from full precision"
        logger.info("backend %s: %s", name, reduced)
        note = "; ".join(filter(None, [note, reduced]))
    backend.note = note
    return backend


def _safe(options: BackendOptions, info: NetworkInfo) -> BackendOptions:
    """bfloat16 in place of float16 for a network that is not safe in it, where the device has bfloat16; else
    float32."""
    if options.precision != "fp16" or info.fp16_safe:
        return options
    if options.on_gpu:
        has_bf16 = half_dtype(False, device=f"gpu:{options.gpu_index}") == "bfloat16"
    else:
        has_bf16 = has_bfloat16()
    precision = "bf16" if has_bf16 else "fp32"
    log = logger.info if has_bf16 else logger.warning
    log("%s is not safe in float16: it is computed in %s", info.network, precision)
    return replace(options, precision=precision)


def _try_once(export: Export, name: str, options: BackendOptions) -> None:
    """Refuse an untrusted graph that crashes another process; the result is remembered."""
    key = _key(export, options, 0, [name])
    if key not in cache_get(_CHOICES):
        try_backend(name, export, options)
        cache_put(_CHOICES, key, [name, ""])


def _fastest(
    export: Export, options: BackendOptions, side: int, opened: dict[str, PaddleBackend]
) -> tuple[str, str]:
    """Name of the fastest right backend, and what was found; remembered for this export and machine."""
    key = _key(export, options, side, list(opened))
    match cache_get(_CHOICES).get(key):
        case [str(name), str(note)] if name in opened or name in installed(export, options):
            logger.info("backend %s: %s (measured before)", name, note)
            return name, note
    x = timed_image(export, side)
    results = [BackendResult(name, 0.0, seconds=seconds_of(b.run, x)) for name, b in opened.items()]
    results += benchmark_backends(export, options, side=side)
    passed = sorted((r for r in results if r.passed), key=lambda r: r.seconds or 0.0)
    if not passed:
        listed = "; ".join(f"{r.backend}: {r.reason}" for r in results) or "none is installed"
        raise DataError(f"no backend runs this export: {listed}")
    times = [f"{r.backend} {1000 * (r.seconds or 0.0):.0f} ms" for r in passed]
    times += [f"{r.backend} not usable" for r in results if not r.passed]
    name, note = passed[0].backend, f"the fastest of {', '.join(times)}"
    logger.info("backend %s: %s", name, note)
    cache_put(_CHOICES, key, [name, note])
    return name, note


def _key(export: Export, options: BackendOptions, side: int, more: list[str]) -> str:
    """Digest of everything that a choice depends on."""
    machine = [processor_name(), options.cpu_threads, asdict(options), versions()]
    parts = [export.entries.get("files"), list(export.shape), machine, side, more]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
