"""`ppsr upscale`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ppsr.cli.flags import (
    Backend,
    Device,
    Half,
    LoadsOrExport,
    MaxMemory,
    NetworkConfig,
    Precision,
    SelfEnsemble,
    Threads,
    Trust,
    ValueRange,
    exit_on_signals,
    log_to_console,
)
from ppsr.errors import ConfigError, printable


def upscale(
    sources: Annotated[
        list[str], typer.Argument(help="Images, videos, folders, or quoted patterns.", metavar="IN...")
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Output folder, or a file for a single input.")
    ],
    load: LoadsOrExport = [],
    config_file: NetworkConfig = None,
    backend: Backend = None,
    device: Device = None,
    precision: Precision = "fp32",
    half: Half = False,
    threads: Threads = None,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Denoising strength of weights that have one, such as realesr-general-x4v3; 0 keeps most "
            "noise, 1 removes most.",
        ),
    ] = None,
    outscale: Annotated[
        float | None,
        typer.Option(help="Output size / input size, 1/16 to 64; default: the network's scale."),
    ] = None,
    suffix: Annotated[str, typer.Option(help="Suffix appended to output names.")] = "",
    ext: Annotated[
        str, typer.Option(help="Image format: png, jpg, webp, bmp, tif, avif, or same as the input.")
    ] = "png",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Quality of JPEG, WebP and AVIF.")] = 95,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Tile size in input pixels; 0: never tile; default: the largest that fits into memory.",
        ),
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="Tile overlap in input pixels; default: from the network.")
    ] = None,
    max_memory: MaxMemory = None,
    tile_mode: Annotated[
        str, typer.Option(help="blend, published, published-inference or published-onnx.")
    ] = "blend",
    self_ensemble: SelfEnsemble = False,
    trust: Trust = False,
    degradation: Annotated[
        str | None,
        typer.Option(
            help="Degradation parameters of CDDNet and DASR: 33 comma-separated numbers or a text file of "
            "them; default: predicted from each image.",
            metavar="NUMBERS|FILE",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option(help="Recurse into subfolders.")] = True,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip inputs whose output already exists.")
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Maximum pixels of an input; outputs may have 16 times as many.")
    ] = 2**27,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Accept truncated JPEG files and damaged videos.")
    ] = False,
    value_range: ValueRange = None,
    crf: Annotated[
        int | None,
        typer.Option(min=0, max=51, help="Constant rate factor of videos; smaller is better; default: 18."),
    ] = None,
    video_codec: Annotated[
        str | None,
        typer.Option(
            help="Video encoder by FFmpeg's name, such as libx265, libsvtav1 or h264_nvenc; default: VP9 for "
            ".webm, else H.264."
        ),
    ] = None,
    video_options: Annotated[
        list[str],
        typer.Option(
            "--video-options", help="Option of the video encoder; may be repeated.", metavar="KEY=VALUE"
        ),
    ] = [],
    report: Annotated[
        Path | None,
        typer.Option(help="Report file (JSON lines); default: report.jsonl in the output folder."),
    ] = None,
) -> None:
    """Upscale images and videos, by default with the published weights realesrgan-x4plus.

    Exit code 1 if some inputs failed, 2 if an option is wrong, 3 if no input was usable.
    """
    from ppsr import accelerate

    accelerate.enable(threads)
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.backends.select import default_backend
    from ppsr.inference.degradation import read_degradation
    from ppsr.inference.network import load_source
    from ppsr.inference.outputs import plan_jobs
    from ppsr.inference.results import exit_code, input_pixels
    from ppsr.inference.upscale_files import FileOptions, upscale_jobs
    from ppsr.inference.upscaler import Upscaler
    from ppsr.inference.video.upscale import check_video_codec
    from ppsr.memory import parse_bytes

    log_to_console()
    precision = "fp16" if half else precision
    options = BackendOptions(device=device, precision=precision, threads=threads, trust=trust)
    options.use_device()
    file_options = FileOptions(
        quality,
        max_pixels,
        allow_truncated,
        crf,
        video_codec,
        _parse_video_options(video_options),
        value_range=value_range,
    )
    check_video_codec(video_codec)
    jobs = plan_jobs(sources, output, suffix=suffix, extension=ext, recursive=recursive, report=report)
    if backend is None and max_memory is None:
        backend = default_backend(input_pixels(jobs, max_pixels), options)
    with exit_on_signals():  # the upscaler may time exports in a temporary folder
        upscaler = Upscaler(
            load_source(config_file, load, strength),
            backend=backend,
            options=options,
            tile=tile,
            overlap=overlap,
            max_memory=None if max_memory is None else parse_bytes(max_memory),
            tile_mode=tile_mode,
            self_ensemble=self_ensemble,
            outscale=outscale,
            degradation=None if degradation is None else read_degradation(degradation),
        )
        note = getattr(upscaler.backend, "note", "")
        print(f"backend {upscaler.backend.name}{f' ({note})' if note else ''}")
        reports = upscale_jobs(
            upscaler, jobs, output, skip_existing=skip_existing, options=file_options, report=report
        )
    counts = {name: sum(r["status"] == name for r in reports) for name in ("ok", "warn", "error", "skipped")}
    others = sum(r["status"] == "skipped" and "output" not in r for r in reports)
    done, there = counts["ok"] + counts["warn"], counts["skipped"] - others
    factor = upscaler.scale if outscale is None else outscale
    print(
        f"{done} of {len(reports) - others} inputs upscaled by {factor:g} to {printable(output)} "
        f"({counts['warn']} with warnings, {counts['error']} failed, {there} already there)"
        + (f"; {others} other files left out" if others else "")
    )
    code = exit_code(reports)
    if code:
        raise typer.Exit(code)


def _parse_video_options(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not key or not equals:
            raise ConfigError(f"--video-options takes KEY=VALUE, such as preset=slow; got '{text}'")
    return {key: value for key, _, value in pairs}
