"""`ppsr.evaluate`: scores of a network, bicubic interpolation or SR images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paddle import nn

from ppsr.compat.paddle import seeded
from ppsr.errors import ConfigError
from ppsr.evaluation.protocols import Protocol, find_protocol
from ppsr.evaluation.published import method_names
from ppsr.evaluation.sources import ImageSource, Upscale, bicubic, find_sets
from ppsr.generators.apply import evaluating
from ppsr.imaging.reading import check_value_range
from ppsr.inference.export.artifact import find_export
from ppsr.inference.upscaler import Upscaler
from ppsr.metrics.scoring import ProcessGroup, SetScore, score_set
from ppsr.registry import METRICS
from ppsr.tiling import make_tiles

__all__ = ["Evaluation", "check_scale", "evaluate", "network_labels", "network_name"]

_OTHER_LABELS = ("bicubic", "HR")  # shown in addition to networks


@dataclass
class Evaluation:
    """Scores of one or several sets by one protocol.

    Attributes:
        method: name of what was scored: of the network's files, "bicubic", or the folder of finished images.
        sources: where the images of each entry come from, for looking at them again.
        is_main: this process writes files.
        absent: sets of the protocol that the data folder does not hold.
        options: constructor arguments of metrics that the protocol leaves open or that differ from it.
        tiling: how images were cut for a network, in words; empty where none was.
        higher_is_better: of each metric, in the order of the tables.
        published_as: names under which the method was published, with whose scores it is compared.
    """

    protocol: Protocol
    scale: int
    method: str
    sets: list[SetScore]
    sources: list[ImageSource]
    is_main: bool = True
    absent: list[str] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    tiling: str = ""
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    published_as: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """Images that have a score."""
        return sum(len(score.rows) for score in self.sets)

    @property
    def means(self) -> dict[str, float]:
        """Means of the only set.

        Raises:
            ConfigError: there are several.
        """
        if len(self.sets) != 1:
            raise ConfigError(f"there are {len(self.sets)} sets; read the means of each in `sets`")
        return self.sets[0].means

    @property
    def exit_code(self) -> int:
        """0 all images have a score, 1 some have none, 3 none has one."""
        codes = [score.exit_code for score in self.sets]
        return 3 if set(codes) == {3} else int(any(codes))


def evaluate(
    method: Upscaler | nn.Layer | Upscale | str | Path | Sequence[str | Path] | None = None,
    *,
    protocol: str = "classic",
    scale: int = 4,
    gt: str | Path | None = None,
    sr: str | Path | None = None,
    lq: str | Path | None = None,
    data: str | Path | None = None,
    sets: Sequence[str] | None = None,
    name: str | None = None,
    metrics: Sequence[str] | None = None,
    metric_options: dict[str, dict[str, Any]] | None = None,
    lq_script: str = "published",
    seed: int = 0,
    value_range: tuple[float, float] | None = None,
    group: ProcessGroup | None = None,
    on_image: Callable[[str, int, int], None] = lambda name, done, count: None,
) -> Evaluation:
    """Score images by a named protocol.

    Give either `gt` (and `lq` or `sr`) for one set, or `data` for a folder with the protocol's layout.

    Args:
        method: weights, a network or an `Upscaler`, "bicubic", or a function of H x W x 3 float32 images in
            [0, 1]; None: score `sr`. Images are cut only into tiles that were asked for; those that do not
            fit into memory have no score.
        protocol: classic, dsr, reflash, dasr or realsr.
        gt: HR images, a folder or a pattern such as `Set14/*_HR.png`.
        sr: SR images; for several degradations, a folder of folders.
        lq: LR images; default: generated from HR if the protocol can.
        sets: sets of `data` to score; None: all that exist.
        name: name of the single set without `data`; default: found in its path.
        metrics: any of `ppsr.registry.METRICS`, such as ["psnr", "LPIPS", "ms-ssim"]; None: the protocol's.
        metric_options: constructor arguments by metric, such as {"pe": {"definition": "published"}}.
        lq_script: "published" generates LR as the released script does, "fixed" with its bug fixed; dsr only.
        seed: seed of noise in generated LR images, at least 0.
        value_range: the lowest and highest value of TIFF files of floats, which are refused without.
        group: processes that share the work.
        on_image: called before each image with the set's name, the number of finished images and of all.

    Example:
        >>> ppsr.evaluate("net.pth", gt="data/Set5/HR").means
        {'psnr': 32.21, 'ssim': 0.8948}

    Raises:
        ConfigError: options that do not fit together, or a metric lacks its file.
        DataError: folders are missing or empty.
        WeightError: the weights do not fit.
    """
    chosen, scale = find_protocol(protocol, scale), int(scale)
    for key, place in {"gt": gt, "sr": sr, "lq": lq, "data": data}.items():
        if not isinstance(place, (str, Path, type(None))):
            raise ConfigError(f"{key} must be one folder, pattern or file, got {place!r:.60}")
    if lq_script not in ("published", "fixed"):
        raise ConfigError(f"lq_script must be published or fixed, got {lq_script!r}")
    if lq_script == "fixed" and not chosen.has_fixed_script:
        raise ConfigError(f"lq_script=fixed applies to protocol 'dsr' only, got '{protocol}'")
    if sr is not None and lq is not None:
        raise ConfigError("sr images are scored directly, so lq has no effect; give only one of them")
    metrics, sets = ([one] if isinstance(one, str) else one for one in (metrics, sets))
    check_value_range(value_range)
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    configs = chosen.metric_configs(scale, metrics or None, metric_options or {})
    if (method is None) == (sr is None):
        raise ConfigError(
            "give exactly one of SR images (sr, --sr) and what makes them: weights (--load), 'bicubic' "
            "(--bicubic) or a function"
        )
    tasks, absent = find_sets(chosen, scale, gt=gt, sr=sr, lq=lq, data=data, sets=sets, name=name)
    if lq_script == "fixed" and not any(task.lq is None and task.sr is None for task in tasks):
        raise ConfigError("lq_script=fixed has no effect: LR or SR images are given")
    with seeded(0):  # networks of metrics begin with random values
        built = {key: METRICS.build(cfg) for key, cfg in configs.items()}
    is_published = lq_script == "published"
    with evaluating(method) if isinstance(method, nn.Layer) else nullcontext():
        scored = _Method(str(sr)) if method is None else _method(method, scale)
        sources = [
            ImageSource(task, chosen, scale, scored.upscale, seed, is_published, value_range)
            for task in tasks
        ]
        scores = [_score(source, built, group, on_image) for source in sources]
    return Evaluation(
        chosen,
        scale,
        scored.name,
        scores,
        sources,
        is_main=group is None or group.rank == 0,
        absent=absent,
        options=metric_options or {},
        tiling=scored.tiling,
        higher_is_better={key: getattr(metric, "higher_is_better", True) for key, metric in built.items()},
        published_as=scored.published_as,
    )


@dataclass(frozen=True)
class _Method:
    """See the attributes of `Evaluation`; without `upscale`, finished images."""

    name: str
    upscale: Upscale | None = None
    tiling: str = ""
    published_as: frozenset[str] = frozenset()


def _method(given: Any, scale: int) -> _Method:
    if given == "bicubic":
        return _Method("bicubic", bicubic(scale), published_as=frozenset({"bicubic"}))
    if isinstance(given, (str, Path, list, tuple)):
        files = [given] if isinstance(given, (str, Path)) else given
        name, network = network_name(files), Upscaler(files)
    elif isinstance(given, (Upscaler, nn.Layer)):
        network = copy(given) if isinstance(given, Upscaler) else Upscaler(given)
        name = network.backend.info.network
    elif not callable(given):
        raise ConfigError(f"weights, a network, 'bicubic' or a function can be scored, not {given!r:.60}")
    else:
        return _Method("upscale", given)
    check_scale(name, network, scale)
    # scores must not depend on free memory
    network.tile, network.retile_on_oom = network.tile or 0, False
    tiles = make_tiles(network.backend.info, network.tile, network.overlap)
    tiling = f"tiles of {tiles.size} with overlap {tiles.overlap}" if tiles.size else "whole images"
    return _Method(name, network, tiling, _published_as(network))


def check_scale(name: str, network: Upscaler, scale: int) -> None:
    """Raises ConfigError for a network of another scale than that of an evaluation."""
    if network.scale != scale:
        raise ConfigError(
            f"{name} has scale {network.scale}, but the evaluation has scale {scale}; give the scale "
            f"{network.scale}"
        )


def _score(
    source: ImageSource,
    metrics: dict[str, Any],
    group: ProcessGroup | None,
    on_image: Callable[[str, int, int], None],
) -> SetScore:
    name, variant, count = source.task.name, source.task.variant, len(source.names)
    title = f"{name} {variant}".strip()

    def on_round(done: int) -> None:
        on_image(title, done, count)

    return score_set(source, metrics, name=name, variant=variant, group=group, on_round=on_round)


def network_name(files: Sequence[str | Path]) -> str:
    """A name for a network, of its files' names, or of the run folder that they are in.

    Example:
        >>> network_name(["weights/IMDN_x4.pth"])
        'IMDN_x4'
    """
    return "+".join(
        path.name if path.is_dir() or find_export(path) == path else path.stem for path in map(Path, files)
    )


def network_labels(networks: Sequence[Sequence[Path]]) -> list[str]:
    """Names of networks; equal ones are preceded by the folder of their files, or are their full paths."""
    names = [network_name(files) for files in networks]
    labels = [
        f"{files[0].absolute().parent.name}/{name}"
        if names.count(name) > 1 or name in _OTHER_LABELS
        else name
        for name, files in zip(names, networks, strict=True)
    ]
    return [
        "+".join(str(file.absolute()) for file in files) if labels.count(label) > 1 else label
        for label, files in zip(labels, networks, strict=True)
    ]


def _published_as(network: Upscaler) -> frozenset[str]:
    net = getattr(network.backend, "net", None)
    if net is None:  # an exported network, whose parameters cannot be counted
        return frozenset()
    count = sum(math.prod(parameter.shape) for parameter in net.parameters())
    return frozenset(method_names(network.backend.info.network, network.scale, count))
