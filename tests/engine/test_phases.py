"""Phases of a step: micro-batches without losses, networks without optimizer, gradients that end with it."""

import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest

from ppsr.imaging.io import read_image, write_image
from tests.engine.helpers import make_trainer, validated_trainer, write_config

SHORT = ["total_iters=3", "log_config.interval=1", "dataset.train.queue_size=0"]


def _weights(net):
    return {key: value.numpy().copy() for key, value in net.named_parameters()}


def _moved(net, before):
    return any(not np.array_equal(value.numpy(), before[key]) for key, value in net.named_parameters())


@pytest.mark.parametrize("option", ["net_d_iters=4", "net_d_init_iters=4"])
def test_the_discriminator_learns_alone_from_several_micro_batches(tmp_path, option):
    config = write_config(tmp_path, gan=True)
    trainer = make_trainer(config, tmp_path / "run", [*SHORT, "step.accumulate=2", f"model.{option}"])
    trainer.state.step = 1  # of the three, none is the generator's
    nets = trainer.state.model.nets
    before = {name: _weights(net) for name, net in nets.items()}
    assert trainer.train() == 0
    assert {name for name, net in nets.items() if _moved(net, before[name])} == {"discriminator"}


def test_a_network_without_optimizer_stays_and_the_others_learn(tmp_path):
    config = write_config(tmp_path, gan=True)
    options = [*SHORT, "optimizer.optimG=null", "step.accumulate=2"]
    trainer = make_trainer(config, tmp_path / "run", options)
    nets = trainer.state.model.nets
    before = {name: _weights(net) for name, net in nets.items()}
    assert trainer.train() == 0
    assert {name for name, net in nets.items() if _moved(net, before[name])} == {"discriminator"}


def test_a_network_without_gradient_in_a_step_does_not_drift_on(tmp_path):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", SHORT)
    assert trainer.train() == 0
    model = trainer.state.model
    generator, predictor = (_weights(model.nets[name]) for name in ("generator", "predictor"))
    model.generator_losses = lambda batch: {"l": model.nets["predictor"](batch["lq"])[0].mean()}
    trainer.total = 4
    assert trainer.train() == 0
    assert not _moved(model.nets["generator"], generator)
    assert _moved(model.nets["predictor"], predictor)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_disk_at_any_output_does_not_end_the_run(tmp_path, monkeypatch, caplog):
    trainer = validated_trainer(tmp_path, [30.0, 31.0], ["log_config.visual_interval=1"])
    for place in ("saver.write_state", "trainer.save_visuals"):
        monkeypatch.setattr(f"ppsr.engine.{place}", _full)
    (tmp_path / "run" / "scalars.jsonl").symlink_to("/dev/full")
    assert trainer.train() == 1  # the last steps are not on the disk
    assert trainer.state.step == 4
    for what in ("checkpoint", "image", "scalars", "validation"):
        assert re.search(f"{what} of step 2 not written", caplog.text)


def test_a_full_disk_at_the_images_of_a_validation_loses_no_score(tmp_path, monkeypatch, caplog):
    config = write_config(tmp_path)
    for path in (tmp_path / "hr").iterdir():
        write_image(tmp_path / "lr" / path.name, read_image(path)[::2, ::2])
    folders = {"gt_folder": str(tmp_path / "hr"), "lq_folder": str(tmp_path / "lr")}
    options = [f"dataset.test={json.dumps({'name': 'SRDataset', 'scale': 2, **folders})}"]
    options += ["validate={interval: 9, save_img: true, metrics: {psnr: {name: PSNR}}}"]
    trainer = make_trainer(config, tmp_path / "run", [*SHORT, *options])
    monkeypatch.setattr("ppsr.engine.trainer.write_image", _full)
    assert trainer.validate()["psnr"] > 0
    trainer.saver.close()
    assert "not written, training continues: No space left on device" in caplog.text


def _full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")
