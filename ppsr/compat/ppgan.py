"""Bridge to PaddleGAN (https://github.com/PaddlePaddle/PaddleGAN, Apache-2.0); nothing of ppsr imports it.

Importing this module makes ppgan 2.1.0 importable with the installed Paddle, and registers every generator,
discriminator, criterion, data set, metric and training algorithm of ppsr in PaddleGAN's registries, as
`PPSR_<name>`. PaddleGAN's own `tools/main.py` imports no plug-ins, so its work is done here too:

    python -m ppsr.compat.ppgan --config-file CONFIG.yaml

The other way, a configuration of ppsr names PaddleGAN's components as `ppgan.<name>`, without this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ppsr.compat.paddlegan import adapters
from ppsr.compat.paddlegan.components import load_ppgan
from ppsr.registry import CRITERIONS, DATASETS, DISCRIMINATORS, GENERATORS, METRICS, MODELS

load_ppgan()

from ppgan.datasets.builder import DATASETS as PPGAN_DATASETS  # noqa: E402 - needs the line above
from ppgan.metrics.builder import METRICS as PPGAN_METRICS  # noqa: E402
from ppgan.models.builder import MODELS as PPGAN_MODELS  # noqa: E402
from ppgan.models.criterions.builder import CRITERIONS as PPGAN_CRITERIONS  # noqa: E402
from ppgan.models.discriminators.builder import DISCRIMINATORS as PPGAN_DISCRIMINATORS  # noqa: E402
from ppgan.models.generators.builder import GENERATORS as PPGAN_GENERATORS  # noqa: E402

from ppsr.compat.paddlegan.model import build_model  # noqa: E402

__all__ = ["PREFIX", "main", "register_all"]

PREFIX = "PPSR_"

_KINDS = (
    (GENERATORS, PPGAN_GENERATORS, adapters.build_generator),
    (DISCRIMINATORS, PPGAN_DISCRIMINATORS, adapters.build_discriminator),
    (CRITERIONS, PPGAN_CRITERIONS, adapters.build_criterion),
    (DATASETS, PPGAN_DATASETS, adapters.build_dataset),
    (METRICS, PPGAN_METRICS, adapters.build_metric),
    (MODELS, PPGAN_MODELS, build_model),
)


def _constructor(adapt: Callable[[str, Mapping[str, Any]], Any], name: str) -> Callable[..., Any]:
    """A factory that PaddleGAN registers like a class; the component is imported when first built."""

    def build(**options: Any) -> Any:
        return adapt(name, options)

    build.__name__ = PREFIX + name  # PaddleGAN's messages say it
    return build


def register_all() -> None:
    """Register what is not registered yet; called by the import, and again after adding own components."""
    for ours, theirs, adapt in _KINDS:
        for name in ours.names():
            if PREFIX + name not in theirs._obj_map:
                theirs.register(_constructor(adapt, name), name=PREFIX + name)


register_all()


def main() -> None:
    """PaddleGAN's `tools/main.py`, with the command line of PaddleGAN, after the registration."""
    from ppgan.engine.trainer import Trainer
    from ppgan.utils.config import get_config
    from ppgan.utils.options import parse_args
    from ppgan.utils.setup import setup

    arguments = parse_args()
    config = get_config(arguments.config_file, arguments.opt)
    setup(arguments, config)
    trainer = Trainer(config)
    if arguments.resume:
        trainer.resume(arguments.resume)
    elif arguments.load:
        trainer.load(arguments.load)
    if arguments.evaluate_only:
        trainer.test()
        return
    trainer.train()
    trainer.close()


if __name__ == "__main__":
    main()
