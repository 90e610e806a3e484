"""Configurations of PaddleGAN and PaddleDepth -> ours.

https://github.com/PaddlePaddle/PaddleGAN and https://github.com/PaddlePaddle/PaddleDepth (Apache-2.0).
`ppsr train` reads most of such files as they are; here the same translation is written down, with networks of
ours where PaddleGAN has the same ones, so that ppgan is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping

from ppsr.compat.options.source import Conversion, Note, Source
from ppsr.config.loader import Config
from ppsr.config.paddlegan import WITHOUT_EFFECT, to_ppsr_form
from ppsr.errors import ConfigError

# options of PaddleGAN's RRDBNet, and of ours, which equals it
_RRDBNET = {
    "in_nc": "num_in_ch",
    "out_nc": "num_out_ch",
    "nf": "num_feat",
    "nb": "num_block",
    "gc": "num_grow_ch",
}


def convert_paddlegan(options: Source, test_set: str | None) -> Conversion:
    """Convert a configuration; it has one test set, so `test_set` must be None."""
    result = options.result
    if test_set is not None:
        raise ConfigError(f"{result.source} has one test set; leave out --test-set")
    values = dict(options.values)
    for key in WITHOUT_EFFECT:
        if key in values:
            result.explained.append(Note(key, values.pop(key), "it has no effect here"))
    sections = values["dataset"] if isinstance(values["dataset"], Mapping) else {}
    for split, section in sections.items():
        if isinstance(section, Mapping) and section.get("name") == "RepeatDataset":
            result.added.append(f"dataset.{split} without RepeatDataset: training counts steps, not epochs")
    config, result.lines = to_ppsr_form(Config(values, result.source, options.places))
    generator = config["model"]["generator"]
    name = str(generator.get("name"))
    if name == "ppgan.RRDBNet":
        own = {_RRDBNET.get(key, key): value for key, value in generator.items()}
        config["model"]["generator"] = {**own, "name": "RRDBNet"}
    elif name.startswith("ppgan."):
        result.added.append(f"the network is PaddleGAN's {name}, which needs its package")
    result.config, result.trains = config, "train" in sections
    return result
