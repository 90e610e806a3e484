"""Write test_tipc/configs/<model>/train_infer_python.txt from the configs: python test_tipc/generate.py

The files have the lines of PaddleGAN's, which scripts read by their numbers, and one more section at the end:
what `lite_train_lite_infer` overrides, so that the published config runs on the samples with a small network.
It is derived: networks shrink to their `test_args`, folders become those of the samples, and a loss whose
weights must be downloaded is left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout, not an installed copy

from ppsr.config import load_config  # noqa: E402 - after the path
from ppsr.registry import DISCRIMINATORS, GENERATORS  # noqa: E402

# folder and model name -> config
MODELS = {
    "cddnet": "cddnet_x4",
    "drn": "drn_x4",
    "realsrresnet": "realsrresnet_x4",
    "realrrdb": "realrrdb_x4",
    "drct": "drct_x4",
}
SCALE = 4  # of the samples' LR images
_STEPS, _BATCH = 4, 2
_TRAIN = {
    "gt_folder": "data/samples/train",
    "lq_folder": f"data/samples/train_bicubic/LR_bicubic/X{SCALE}",
    "gt_size": 16 * SCALE,
    "crop_pad_size": 128,
    "num_workers": 0,
    "queue_size": 2 * _BATCH,
}
_TEST = {"gt_folder": "data/samples/val", "lq_folder": f"data/samples/val_LRx{SCALE}"}
_FACTORS = ("scale", "upscale", "upsampler")  # of a network's `test_args`: what the samples fix

_EXPORT = "--inputs_size=-1,3,-1,-1 --model_name inference --formats paddle"
_INFERENCE = "--run_mode fluid --output_path test_tipc/output/"

_TEMPLATE = """\
===========================train_params===========================
model_name:{name}
python:python
gpu_list:-1
##
auto_cast:null
total_iters:lite_train_lite_infer={steps}
output_dir:./output/
dataset.train.batch_size:lite_train_lite_infer={batch}
pretrained_model:null
train_model_name:{config}-*/iter_*_weight.pdparams
train_infer_img_dir:null
null:null
##
trainer:norm_train
norm_train:tools/main.py -c configs/{config}.yaml --seed 123 -o
pact_train:null
fpgm_train:null
distill_train:null
null:null
null:null
##
===========================eval_params===========================
eval:tools/main.py -c configs/{config}.yaml --seed 123 --evaluate-only --load
null:null
##
===========================infer_params===========================
--output_dir:./output/
load:null
norm_export:tools/export_model.py -c configs/{config}.yaml {export} --load
quant_export:null
fpgm_export:null
distill_export:null
export1:null
export2:null
inference_dir:inference
train_model:null
infer_export:null
infer_quant:False
inference:tools/inference.py --model_type {name} -c configs/{config}.yaml --seed 123 {inference}
--device:cpu
null:null
null:null
--batch_size:1
null:null
--precision:fp32
--model_path:
null:null
null:null
null:null
null:null
===========================lite_params===========================
overrides:lite_train_lite_infer={overrides}
"""


def lite_overrides(config: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> value that lets a published config run on the samples in seconds.

    Raises:
        ValueError: it is not for images of the samples' scale.
    """
    found: dict[str, Any] = {}
    for part, section in config["model"].items():
        if part == "perceptual_criterion":
            found["model.perceptual_criterion"] = None
        name = section.get("name") if isinstance(section, Mapping) else None
        for registry in (GENERATORS, DISCRIMINATORS):
            if name in registry:
                small = registry.get(name).test_args
                changed = {k: v for k, v in small.items() if k not in _FACTORS and section.get(k) != v}
                found |= {f"model.{part}.{key}": value for key, value in changed.items()}
    for split, small in (("train", _TRAIN), ("test", _TEST)):
        section = config["dataset"][split]
        if section["scale"] != SCALE:
            raise ValueError(f"dataset.{split}.scale is {section['scale']}; the samples are for x{SCALE}")
        found |= {f"dataset.{split}.{key}": value for key, value in small.items() if key in section}
    if "dataset.train.lq_folder" in found:
        found["dataset.train.filename_tmpl"] = f"{{}}x{SCALE}"
    return {**found, "log_config.interval": 1}


def _text(value: Any) -> str:
    """A value as `-o` reads it, in one word without the signs that separate values here.

    Raises:
        ValueError: there is no such text.
    """
    if isinstance(value, str):
        text = f"'{value}'" if "{" in value else value
    else:
        text = json.dumps(value, separators=(",", ":"))
    if any(sign in text for sign in ": |\\"):
        raise ValueError(f"{text} cannot stand in a TIPC file")
    return text


def contents(folder: Path = ROOT / "test_tipc" / "configs") -> dict[Path, str]:
    """Every file and its text."""
    files = {}
    for name, stem in MODELS.items():
        overrides = lite_overrides(load_config(ROOT / "configs" / f"{stem}.yaml"))
        words = " ".join(f"{key}={_text(value)}" for key, value in overrides.items())
        files[folder / name / "train_infer_python.txt"] = _TEMPLATE.format(
            name=name,
            config=stem,
            steps=_STEPS,
            batch=_BATCH,
            export=_EXPORT,
            inference=_INFERENCE,
            overrides=words,
        )
    return files


def main() -> None:
    """Write the files."""
    for path, text in contents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
