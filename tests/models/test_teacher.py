"""A generator that learns from a trained one: by its images and by the outputs of its layers."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.config import check_config, load_config
from ppsr.errors import ConfigError, WeightError
from ppsr.models.base import Batch
from ppsr.models.sr import SRModel
from ppsr.registry import GENERATORS
from ppsr.weights import write_state
from tests.engine.helpers import write_config

NETWORK = {"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}


@pytest.fixture
def teacher(tmp_path):
    """A network, and its section in a config."""
    net = GENERATORS.build(NETWORK)
    net.eval()
    write_state(tmp_path / "teacher.pdparams", {k: v.numpy() for k, v in net.state_dict().items()})
    return net, {**NETWORK, "weights": str(tmp_path / "teacher.pdparams")}


def batch_of(rng) -> Batch:
    shapes = {"lq": 8, "gt": 16}
    return Batch({k: paddle.to_tensor(rng.random((2, 3, s, s), dtype=np.float32)) for k, s in shapes.items()})


def test_images_and_layers_of_the_teacher_are_compared(rng, teacher):
    net, section = teacher
    model = SRModel(
        generator=NETWORK,
        teacher=section,
        criterions=[
            {"name": "L1Loss", "of": ["sr", "teacher"]},
            {"name": "MSELoss", "of": ["generator.conv_first", "teacher.conv_first"], "loss_weight": 2},
        ],
    )
    batch = batch_of(rng)
    losses = model.generator_losses(batch)
    student = model.nets["generator"]
    with paddle.no_grad():
        image = (student(batch["lq"]) - net(batch["lq"])).abs().mean()
        features = [one.conv_first(batch["lq"]) for one in (student, net)]
        square = ((features[0] - features[1]) ** 2).mean()
    assert float(losses["l_l1"]) == pytest.approx(float(image), rel=1e-5)
    assert float(losses["l_mse"]) == pytest.approx(2 * float(square), rel=1e-5)
    sum(losses.values()).backward()
    assert all(p.grad is None for p in model.taught.net.parameters())
    assert float(student.conv_first.weight.grad.abs().max()) > 0
    assert set(model.nets) == {"generator"}  # a teacher is neither trained nor saved


def test_what_does_not_fit_is_named(rng, teacher):
    section = teacher[1]
    entry = {"name": "L1Loss", "of": ["sr", "teacher"]}
    with pytest.raises(ConfigError, match=r"model\.teacher"):
        SRModel(generator=NETWORK, criterions=[entry]).generator_losses(batch_of(rng))
    for options, error, message in (
        ({"teacher": {**section, "upscale": 4}}, ConfigError, "enlarges 4 times"),
        ({"teacher": {**section, "num_feat": 8}}, WeightError, "conv_first"),
        (
            {"criterions": [{**entry, "of": ["generator.conv_firts", "gt"]}]},
            ConfigError,
            "did you mean 'conv_first'",
        ),
        (
            {"criterions": [{**entry, "of": ["sr", "teacher.conv_firts"]}]},
            ConfigError,
            "did you mean 'conv_first'",
        ),
    ):
        with pytest.raises(error, match=message):
            SRModel(**{"generator": NETWORK, "teacher": section, "criterions": [entry], **options})


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{name: MSRResNet, upscale: 2}", "the key 'model.teacher.weights' is missing"),
        ("{name: MSRResNt, weights: x}", "did you mean 'MSRResNet'"),
        ("{name: MSRResNet, weights: x, num_feats: 3}", "did you mean 'num_feat'"),
    ],
)
def test_a_wrong_section_is_named(tmp_path, teacher, message):
    with pytest.raises(ConfigError) as error:
        check_config(load_config(write_config(tmp_path), [f"model.teacher={teacher}"]))
    assert message in str(error.value)
