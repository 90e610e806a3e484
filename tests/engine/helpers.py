"""A tiny training run on generated images."""

import hashlib
from pathlib import Path

import numpy as np
import paddle
import yaml

from ppsr.config import check_config, load_config
from ppsr.engine.distributed import Group
from ppsr.engine.run import CHECKPOINTS
from ppsr.engine.trainer import Trainer
from ppsr.imaging import write_image
from ppsr.registry import build_model

CONFIG = {
    "total_iters": 20,
    "seed": 3,
    "model": {
        "name": "CDDNet",
        "generator": {"name": "CDDNet", "num_feat": 4, "num_block": 1, "num_models": 2, "upscale": 2},
        "predictor": {"name": "DegradationPredictor", "nf": 4, "num_params": 33, "num_networks": 2},
        "pixel_criterion": {"name": "CharbonnierLoss"},
        "regression_criterion": {"name": "CharbonnierLoss"},
    },
    "dataset": {
        "train": {
            "name": "DASRDataset",
            "scale": 2,
            "gt_size": 16,
            "crop_pad_size": 80,
            "batch_size": 2,
            "queue_size": 6,
        }
    },
    "lr_scheduler": {"name": "MultiStepDecay", "learning_rate": 1e-3, "milestones": [12], "gamma": 0.5},
    "optimizer": {"name": "Adam", "net_names": ["generator", "predictor"], "beta1": 0.9, "beta2": 0.99},
    "ema": {"decay": 0.9, "net_names": ["generator"]},
    "log_config": {"interval": 5},
    "snapshot_config": {"interval": 10},
}
GAN = {
    "discriminator": {"name": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 2},
    "gan_criterion": {"name": "GANLoss", "loss_weight": 0.1},
    "artifact_criterion": {"name": "ArtifactLoss"},
}
GAN_OPTIMIZERS = {
    "optimG": {"name": "Adam", "net_names": ["generator", "predictor"]},
    "optimD": {"name": "Adam", "net_names": ["discriminator"]},
}


def make_images(folder: Path, count: int = 5, side: int = 84) -> Path:
    """Smooth random images."""
    rng = np.random.default_rng(1)
    for i in range(count):
        small = rng.random((6, 6, 3)).astype(np.float32)
        big = np.kron(small, np.ones((side // 6, side // 6, 1), np.float32))
        write_image(folder / f"p{i}.png", big)
    return folder


def write_config(folder: Path, *, gan: bool = False, **changes) -> Path:
    """The tiny config with images and output below `folder`."""
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    if gan:
        config["model"].update(GAN)
        config["optimizer"] = GAN_OPTIMIZERS
    config["output_dir"] = str(folder / "output")
    config["dataset"]["train"]["gt_folder"] = str(make_images(folder / "hr"))
    config.update(changes)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def make_trainer(path: Path, run: Path, overrides=()) -> Trainer:
    """A trainer of one process."""
    config = load_config(path, overrides)
    experiment = check_config(config)
    paddle.set_device("cpu")
    paddle.seed(experiment.seed)
    run.mkdir(parents=True, exist_ok=True)
    return Trainer(config, experiment, build_model(config["model"]), Group(), run)


def before_steps(trainer: Trainer, action) -> None:
    """Call a function of the number of finished steps before each."""
    batches = trainer._batches

    def watched():
        for batch in batches():
            action(trainer.state.step)
            yield batch

    trainer._batches = watched


class Scores:
    """A validator with given values of one metric, instead of networks on images."""

    sets = ("given",)
    basis = "psnr"
    sign = 1

    def __init__(self, trainer: Trainer, values) -> None:
        self.validated = []
        self.values = iter(values)
        self.trainer = trainer

    def score(self, *_, **__):
        self.validated.append(self.trainer.state.step)
        return {}

    def means(self, _):
        return {"psnr": next(self.values)}

    def best_metric(self):
        return "psnr"

    def quality(self, means):
        return means["psnr"]


def validated_trainer(folder: Path, values, overrides=()) -> Trainer:
    """A trainer that saves and validates every second step, with these scores."""
    options = ["validate.interval=2", "snapshot_config.interval=2", "snapshot_config.keep=1"]
    options += [f"total_iters={2 * len(values)}", "log_config.interval=2", *overrides]
    trainer = make_trainer(write_config(folder), folder / "run", options)
    trainer.validator = Scores(trainer, values)
    return trainer


def fingerprint(run: Path) -> str:
    """Hash of everything in the newest checkpoint that a resumed run must reproduce."""
    newest = max((run / CHECKPOINTS).glob("step_*"))
    digest = hashlib.sha256(newest.name.encode())
    for name in ("weights.pdparams", "optimizers.pdopt", "pool.rank0.pdparams"):
        if (newest / name).exists():
            digest.update((newest / name).read_bytes())
    return digest.hexdigest()


class Rank(Group):
    """One of several ranks, each a thread."""

    def __init__(self, rank, world, barrier, values):
        super().__init__(rank, world)
        self.all_here, self.values = barrier, values

    def maximum(self, value):
        return max(self.gather(value))

    def sum(self, values):
        return [sum(column) for column in zip(*self.gather(list(values)), strict=True)]

    def gather(self, value):
        self.values[self.rank] = value
        self.all_here.wait(30)
        values = [self.values[rank] for rank in range(self.world)]
        self.all_here.wait(30)
        return values
