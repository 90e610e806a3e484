"""The pairs that the trainings of training_runs.py learn from and are scored on."""

from __future__ import annotations

from pathlib import Path

from ppsr.prepare.bicubic import Bicubic, MultiScale
from ppsr.prepare.dasr_valid import TYPES, DASRValidation
from ppsr.prepare.lists import make_list


def prepare() -> None:
    """T91 in five sizes, T91 with BSDS500's train and test sets, and LR of them, Set5 and Set14."""
    sizes = Path("data/T91_multiscale/HR_all")
    MultiScale(sizes, factors=(1, 0.9, 0.8, 0.7, 0.6), smallest=72).make("data/T91").require_all()
    Bicubic(sizes.parent, scales=(2, 3, 4), multiple=12).make(sizes).require_all()
    if not Path("data/Set5/LR_bicubic").is_dir():
        Bicubic(Path("data/Set5"), scales=(2, 3, 4)).make("data/Set5/HR").require_all()
    for kind in TYPES:
        DASRValidation(Path(f"data/Set14/LR_type{kind}"), kind=kind).make("data/Set14/HR").require_all()
    together = Path("data/T291_BSDS/HR_all")
    together.mkdir(parents=True, exist_ok=True)
    for folder in ("T91", "BSDS500/train", "BSDS500/test"):
        for path in sorted(Path("data", folder).iterdir()):
            link = together / path.name
            if path.suffix in (".bmp", ".jpg", ".png") and not link.exists():
                link.symlink_to(path.resolve())
    Bicubic(together.parent, scales=(2, 4), multiple=4).make(together).require_all()
    for smallest, name in ((96, "meta_info.txt"), (144, "meta_info_144.txt")):
        make_list(
            together.parent / "HR", together.parent / name, form="name", smallest=smallest
        ).require_all()
