"""The tables of docs/evaluation.md, made of the protocols and the published scores themselves."""

from collections.abc import Iterable

from ppsr.evaluation.protocols import PROTOCOLS, Protocol
from ppsr.evaluation.published import PUBLISHED

PAIRING = "exact stem, then stem without suffix, then HR stem as prefix"


def protocol_table() -> str:
    """One line of Markdown per protocol: what, colours, border, rounding, pairing, scales, metrics,
    sources."""
    header = ("protocol", "what", "PSNR and SSIM on", "border", "rounding of SR", "pairing", "scales")
    header += ("metrics", "published numbers: source")
    rows = [
        (
            p.name,
            p.about,
            p.color,
            "scale" if p.border is None else f"{p.border} px",
            p.rounding,
            "none (no ground truth)" if p.gt_layout is None else PAIRING,
            ", ".join(map(str, p.scales)),
            ", ".join(p.metrics),
            _sources(p),
        )
        for p in PROTOCOLS.values()
    ]
    return _table(header, rows)


def _sources(protocol: Protocol) -> str:
    """Methods by source, or that there are none."""
    methods: dict[str, dict[str, None]] = {}
    for r in PUBLISHED:
        if r.protocol == protocol.name:
            methods.setdefault(r.source, {})[f"{r.method} x{r.scale}"] = None
    return "; ".join(f"{', '.join(names)}: {source}" for source, names in methods.items()) or "none"


def published_table() -> str:
    """Every published score, one line of Markdown per protocol, scale, method and source."""
    lines: dict[tuple[str, str, str, str], list[str]] = {}
    for r in PUBLISHED:
        place = f"{r.dataset} {PROTOCOLS[r.protocol].variants.get(r.variant, r.variant)}".strip()
        scores = " / ".join(f"{name} {_digits(name, value)}" for name, value in r.scores.items())
        lines.setdefault((r.protocol, f"x{r.scale}", r.method, r.source), []).append(f"{place}: {scores}")
    header = ("protocol", "scale", "method", "scores", "source")
    return _table(header, [(*key[:3], "; ".join(scores), key[3]) for key, scores in lines.items()])


def _digits(metric: str, value: float) -> str:
    """At least the usual digits of a metric, more where more were printed."""
    return f"{value:.{max(2 if metric == 'psnr' else 4, len(repr(value).split('.')[1]))}f}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ("---",) * len(header), *rows))
