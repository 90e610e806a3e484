"""Sections of a configuration that are not components. Keys are PaddleGAN's; defaults are set here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

__all__ = ["Experiment", "LoaderOptions"]


def _without_null(value: Any) -> Any:
    """The entries of a mapping that an override, such as `validate.metrics.ssim=null`, has not removed."""
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def not_a_truth(value: Any, accepted: Any) -> Any:
    """What a value was accepted as; pydantic takes true for the number 1."""
    if isinstance(value, bool) and isinstance(accepted, (int, float)) and accepted is not value:
        raise PydanticCustomError("number", "Input should be a number, not true or false")
    return accepted


class _Section(BaseModel):
    """A section; null stands for a key's default."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    _defaults = model_validator(mode="before")(_without_null)

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_truth_for_number(cls, value: Any, accept: Callable[[Any], Any]) -> Any:
        return not_a_truth(value, accept(value))


class LoaderOptions(_Section):
    """How samples become batches: keys of a dataset's section in addition to its options."""

    batch_size: int = Field(1, ge=1, description="samples per step and rank")
    num_workers: int = Field(0, ge=0)
    use_shared_memory: bool = Field(True, description="without effect, as in configs of PaddleGAN")
    shuffle: bool = True
    drop_last: bool = True
    queue_size: int = Field(0, ge=0, description="training-pair pool: pairs to mix over; 0 switches it off")
    queue_params: bool = Field(True, description="degradation parameters travel with their pair")


class Datasets(_Section):
    """`train` and `test` hold a dataset's options together with `LoaderOptions`; `test` may also map names of
    your own to several such sections."""

    train: dict[str, Any] | None = None
    test: dict[str, Any] | None = None

    @property
    def test_sections(self) -> dict[str, dict[str, Any]]:
        """The validation sets by name; a single one has the name ""."""
        if not self.test:
            return {}
        given = _without_null(self.test)
        several = "name" not in given and all(isinstance(value, dict) for value in given.values())
        return given if several else {"": given}


class Validate(_Section):
    """Validation during training and by --evaluate-only."""

    interval: int = Field(-1, description="in steps; -1: never")
    save_img: bool = False
    tile: int = Field(0, ge=0, description="cut larger images into tiles of this side in LR pixels; 0: never")
    metrics: dict[str, dict[str, Any]] = Field(default_factory=dict)

    _metrics = field_validator("metrics", mode="before")(_without_null)


class LogConfig(_Section):
    """Intervals in steps."""

    interval: int = Field(100, ge=1)
    visual_interval: int = Field(
        0, ge=0, validation_alias=AliasChoices("visual_interval", "visiual_interval")
    )


class SnapshotConfig(_Section):
    """Checkpoints every `interval` steps: the newest `keep` stay, and the best that was validated."""

    interval: int = Field(5000, ge=1)
    keep: int = Field(2, ge=1)
    sync: bool = Field(False, description="wait for each checkpoint instead of writing it in a thread")


class Ema(_Section):
    """Exponential moving average of some networks' parameters."""

    decay: float = Field(0.999, ge=0, lt=1)
    net_names: list[str] = ["generator"]
    switch_every: int = Field(
        0, ge=0, description="steps after which the networks take over their averages; 0: never"
    )


class Precision(_Section):
    """Mixed precision; on CPU Paddle ignores it."""

    amp: bool = False
    level: Literal["O1", "O2"] = "O1"
    dtype: Literal["float16", "bfloat16"] = "float16"


class BatchAugment(_Section):
    """Augmentations of training batches on the device; at most one is applied to a batch."""

    mixup: float = Field(0.0, ge=0, le=1, description="probability of the mean of two pairs")
    cutmix: float = Field(0.0, ge=0, le=1, description="of a box of another pair")
    resizemix: float = Field(0.0, ge=0, le=1, description="of another pair shrunk into a box")
    cutblur: float = Field(0.0, ge=0, le=1, description="of LR that shows the shrunk target in a box")

    @model_validator(mode="after")
    def _sum(self) -> BatchAugment:
        total = self.mixup + self.cutmix + self.resizemix + self.cutblur
        if total > 1 + 1e-9:
            raise ValueError(f"the probabilities sum to {total:g}, more than 1")
        return self


class StepOptions(_Section):
    """Options of the training step that are the same for every algorithm."""

    accumulate: int = Field(1, ge=1, description="batches per optimizer step")
    clip_norm: float | None = Field(None, gt=0, description="global gradient norm, per optimizer")
    max_skips: int = Field(100, ge=1, description="non-finite steps in a row after which the run stops")
    to_static: bool = Field(False, description="train on graphs that paddle.jit.to_static traces")
    channels_last: bool = Field(False, description="let Paddle choose NHWC on a GPU with mixed precision")
    batch_augment: BatchAugment | None = None


class OptimizerOptions(_Section):
    """Keys of an optimizer's section in addition to its options."""

    net_names: str | list[str] = Field([], description="the networks that it updates")
    learning_rate: float | None = Field(None, gt=0, description="instead of that of its schedule")
    lr_scheduler: dict[str, Any] | None = Field(None, description="instead of the common schedule")


class TeacherOptions(_Section):
    """Keys of a teacher's section in addition to its options."""

    weights: str = Field(min_length=1, description="its weight file")


class CriterionOptions(_Section):
    """How a criterion counts: keys of its section in addition to its options."""

    of: list[str] | None = Field(
        None, min_length=1, description="tensors that it compares; by default its own"
    )
    label: str | None = Field(None, min_length=1, description="its name in the log; by default from the name")
    loss_weight: float | None = Field(None, description="factor; the criterion's own option where it has one")
    start: int = Field(0, ge=0, description="steps without it at the beginning")
    warmup: int = Field(0, ge=0, description="steps over which its weight then rises linearly")


class Load(_Section):
    """Weights to start from; a text is their `path`."""

    path: str = Field(description="file, folder of a run, or name of published weights")
    partial: bool | list[str] = Field(False, description="what may differ")
    expand_experts: bool = False

    @model_validator(mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class Experiment(_Section):
    """A whole configuration; components are checked against their constructors."""

    total_iters: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    output_dir: str = "output"
    enable_visualdl: bool = False
    enable_tensorboard: bool = False
    wandb_project: str | None = Field(None, min_length=1, description="of Weights & Biases")
    seed: int = Field(0, ge=0, lt=2**63)
    imports: list[str] = Field([], description="modules to import, which register components")
    model: dict[str, Any]
    dataset: Datasets = Datasets()
    lr_scheduler: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None
    validate_: Validate = Field(Validate(), alias="validate")
    log_config: LogConfig = LogConfig()
    snapshot_config: SnapshotConfig = SnapshotConfig()
    ema: Ema | None = None
    precision: Precision = Precision()
    step: StepOptions = StepOptions()
    load: dict[str, Load] = Field(default_factory=dict, description="by network; a text is for all networks")

    @field_validator("load", mode="before")
    @classmethod
    def _load(cls, value: Any) -> Any:
        return {"": value} if isinstance(value, str) else _without_null(value)

    @model_validator(mode="after")
    def _length(self) -> Experiment:
        if self.total_iters is None and self.epochs is None:
            raise ValueError("give total_iters or epochs")
        return self
