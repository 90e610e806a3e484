"""Checking a configuration: one clear message with the place and the nearest valid name."""

from __future__ import annotations

import pytest

from ppsr.config import check_config, load_config
from ppsr.errors import ConfigError
from tests.engine.helpers import write_config


@pytest.fixture
def path(tmp_path):
    return write_config(tmp_path)


def _line(path, text):
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_right_config_passes_with_defaults(path):
    experiment = check_config(load_config(path))
    assert experiment.total_iters == 20
    assert experiment.step.accumulate == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("totl_iters=3", "did you mean 'total_iters'"),
        ("log_config.intervall=3", "did you mean 'interval'"),
        ("model.generator.num_feats=3", "no option 'model.generator.num_feats'; did you mean 'num_feat'"),
        ("model.generator.name=CDNet", "unknown generator 'CDNet'; did you mean 'CDDNet'"),
        ("model.pixel_criterion.name=L1Los", "did you mean 'L1Loss'"),
        ("model.generator.num_feat=wide", "'model.generator.num_feat' is 'wide'"),
        ("total_iters=1.5", "'total_iters' is 1.5"),
        ("total_iters=null", "tiny.yaml: give total_iters or epochs"),
        ("lr_scheduler.milestones=12", "'lr_scheduler.milestones' is 12"),
        ("dataset.train.name=DASRDataste", "did you mean 'DASRDataset'"),
        ("dataset.train.batch_sise=2", "did you mean 'batch_size'"),
        ("optimizer.beta3=0.9", "no option 'optimizer.beta3'"),
        ("modell.name=x", "unknown key 'modell'; did you mean 'model'"),
    ],
)
def test_a_wrong_override_names_itself_and_the_nearest(path, override, message):
    with pytest.raises(ConfigError) as error:
        check_config(load_config(path, [override]))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ("total_iters: 20", "total_iter: 20", "total_iter: 20", "did you mean 'total_iters'"),
        ("num_block: 1", "num_blok: 1", "num_blok: 1", "did you mean 'num_block'"),
        ("learning_rate: 0.001", "learning_rate: fast", "learning_rate: fast", "is 'fast'"),
        ("  name: MultiStepDecay\n", "", "lr_scheduler", "lacks the key 'name'"),
        ("interval: 10", "interval: often", "interval: often", "'snapshot_config.interval' is 'often'"),
    ],
)
def test_a_wrong_file_names_its_line(path, old, new, at, message):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError) as error:
        check_config(load_config(path))
    assert message in str(error.value)
    assert f"tiny.yaml:{_line(path, at)}:" in str(error.value)


def test_a_missing_component_option_is_named(path):
    text = path.read_text().replace("  milestones:\n  - 12\n", "")
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"MultiStepDecay needs the option 'lr_scheduler.milestones'"):
        check_config(load_config(path))


def test_numbers_written_as_yaml_1_1_strings_are_numbers(path):
    path.write_text(path.read_text().replace("learning_rate: 0.001", "learning_rate: 1e-4"))
    assert load_config(path)["lr_scheduler"]["learning_rate"] == pytest.approx(1e-4)
    check_config(load_config(path))
