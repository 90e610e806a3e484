"""The validation sets of a run: built and checked at its start, scored during training."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ppsr.config.schema import Experiment
from ppsr.engine.distributed import Group
from ppsr.engine.evaluator import Write, sample_label, section_folders, validate
from ppsr.engine.loader import build_dataset
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import write_image
from ppsr.metrics.scoring import ImageError, SetScore, check_lr_size
from ppsr.registry import METRICS

logger = logging.getLogger(__name__)

_CHECKED_SAMPLES = 3  # at the start; more faults than that in a row are not an accident


def build_metrics(experiment: Experiment) -> dict[str, Any]:
    """The metrics of the `validate` section by their names."""
    return {name: METRICS.build(cfg) for name, cfg in experiment.validate_.metrics.items()}


@dataclass(frozen=True)
class ValidationSet:
    """One dataset of `dataset.test`.

    Attributes:
        name: its key where there are several, else "".
        key: of its section in the config.
        folders: data set folders, see `ppsr.engine.evaluator.sample_label`.
    """

    name: str
    key: str
    dataset: Any
    folders: tuple[Path, ...] = ()

    def metric(self, name: str) -> str:
        """Name of a metric in logs: with the set's name where there are several."""
        return f"{self.name}/{name}" if self.name else name


class Validator:
    """Scores a network on all validation sets.

    Raises:
        DataError: folders of a set are missing or empty, or names do not pair.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.options = experiment.validate_
        self.metrics = build_metrics(experiment)
        sections = experiment.dataset.test_sections
        self._first = [next(iter(kind.values()), None) for kind in (self.options.metrics, sections)]
        self._scored = self._most_scored = 0  # images of the first set, in the last validation and at most
        self.sets = []
        for name, section in sections.items():
            if name == ".." or Path(name).name != name:
                raise ConfigError(f"dataset.test: '{name}' names a folder of images; choose one without '/'")
            key = f"dataset.test.{name}" if name else "dataset.test"
            dataset, _ = build_dataset(section, key)
            self.sets.append(ValidationSet(name, key, dataset, section_folders(section)))

    def check(self, scale: int | None) -> None:
        """Look at the first samples of each set, so that a mistake does not cost the steps before the first
        validation. Single faulty ones are left to the validation, which names them and leaves them out.

        Raises:
            DataError: none of them has LR and HR of the sizes that the network needs.
            ConfigError: no metric can be computed, and no image is to be written.
        """
        for test in self.sets:
            faults = []
            for index in range(min(_CHECKED_SAMPLES, len(test.dataset))):
                try:
                    self._check_sample(test, test.dataset[index], scale)
                    break
                except DataError as error:
                    faults.append(error)
            else:
                raise DataError(f"{test.key}: {faults[0]}" if faults else f"{test.key} is empty")

    def _check_sample(self, test: ValidationSet, sample: dict[str, Any], scale: int | None) -> None:
        if sample.get("lq") is None:
            raise ConfigError(
                f"{test.key} yields no LR images; give a degradation, or a dataset that has lq_folder"
            )
        if sample.get("gt") is None:
            self._check_metrics_without_truth(test)
        elif scale is not None:
            _check_size(test, sample, scale)

    def _check_metrics_without_truth(self, test: ValidationSet) -> None:
        needing = [k for k, metric in self.metrics.items() if not getattr(metric, "no_reference", False)]
        if not needing:
            return
        message = f"{test.key} has no ground truth, which validate.metrics.{needing[0]} needs"
        if len(needing) == len(self.metrics) and not self.options.save_img:
            raise ConfigError(
                f"{message}; name a dataset with gt_folder, a metric without reference such as NIQE, or set "
                "validate.save_img=true to write the images alone"
            )
        logger.warning("%s: not computed: %s", message, ", ".join(needing))

    def score(
        self,
        net: nn.Layer,
        group: Group,
        *,
        save_folder: Path,
        write: Write = write_image,
        on_round: Callable[[], None] = lambda: None,
    ) -> dict[str, SetScore]:
        """Scores of every set by its name, see `ppsr.engine.evaluator.validate`.

        Args:
            save_folder: where images go if `validate.save_img` is set, those of a named set below its name.
        """
        scores = {}
        if self.options.tile and group.is_main:
            logger.info("images larger than %d LR pixels are cut into tiles of that size", self.options.tile)
        for test in self.sets:
            if test.name and group.is_main:
                logger.info("validating %s", test.name)
            scores[test.name] = validate(
                net,
                test.dataset,
                self.metrics,
                group,
                save_folder=save_folder / test.name if self.options.save_img else None,
                write=write,
                folders=test.folders,
                tile=self.options.tile,
                on_round=on_round,
            )
        self._scored = len(scores[self.sets[0].name].rows) if self.sets else 0
        return scores

    def means(self, scores: dict[str, SetScore]) -> dict[str, float]:
        """Means by metric, as they are logged."""
        return {
            test.metric(metric): value
            for test in self.sets
            for metric, value in scores[test.name].means.items()
        }

    def best_metric(self) -> str | None:
        """Metric that chooses the best step: the first one, of the first set."""
        first = next(iter(self.metrics), None)
        return self.sets[0].metric(first) if self.sets and first is not None else None

    @property
    def basis(self) -> Any:
        """What that choice depends on: name and options of both, as JSON values."""
        return json.loads(json.dumps([self.best_metric(), *self._first], default=str))

    def quality(self, means: dict[str, float]) -> float | None:
        """Value of that metric, larger for better; None where it is missing, not finite, or a mean of fewer
        images than before."""
        key = self.best_metric()
        if key is None or not math.isfinite(means.get(key, math.nan)):
            return None
        lost = self._most_scored - self._scored
        if lost > 0:
            logger.warning(
                "%d images are not scored that were before: no comparison with the best step", lost
            )
            return None
        self._most_scored = self._scored
        return self.sign * means[key]

    @property
    def sign(self) -> int:
        """-1 where lower values of the metric that chooses the best step are better."""
        first = next(iter(self.metrics.values()), None)
        return 1 if getattr(first, "higher_is_better", True) else -1


def _check_size(test: ValidationSet, sample: dict[str, Any], scale: int) -> None:
    try:
        check_lr_size(np.shape(sample["lq"])[1:], np.shape(sample["gt"])[1:], scale)
    except ImageError as error:
        label = sample_label(sample, test.folders)
        raise DataError(f"{label}: {error}; another scale or other folders are needed") from None
