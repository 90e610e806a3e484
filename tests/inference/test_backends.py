"""The interface of the backends, and the steps around a network."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import super_resolve as tensor_super_resolve
from ppsr.inference.backends import ReducedPrecision, self_ensemble, super_resolve
from ppsr.inference.backends.dygraph import PaddleBackend
from ppsr.inference.facts import NetworkFacts, facts_of
from ppsr.registry import GENERATORS

SR_NETWORKS = [name for name in GENERATORS.names() if getattr(GENERATORS.get(name), "produces_image", True)]


class Repeat:
    """Enlarges by repetition, which commutes with flips and turns; fails where it is told to."""

    name = "repeat"

    def __init__(self, *, multiple: int = 1, rgb_range: float = 1.0, nan: bool = False) -> None:
        self.facts = NetworkFacts("Repeat", scale=2, size_multiple=multiple, rgb_range=rgb_range)
        self.nan = nan
        self.seen: list[np.ndarray] = []

    def run(self, x: np.ndarray) -> np.ndarray:
        self.seen.append(x)
        y = x.repeat(2, axis=2).repeat(2, axis=3)
        return y * np.float32(np.nan) if self.nan else y


class OverflowingRepeat(Repeat):
    def run_float32(self, x: np.ndarray) -> np.ndarray:
        return x.repeat(2, axis=2).repeat(2, axis=3)


@pytest.mark.smoke
@pytest.mark.parametrize("name", SR_NETWORKS)
def test_facts_are_those_that_the_network_states(name: str) -> None:
    cls = GENERATORS.get(name)
    net = cls(**cls.test_args)
    facts = facts_of(net)
    assert facts.network == name
    assert facts.scale == net.scale
    assert facts.rgb_range == float(getattr(net, "rgb_range", 1.0))
    assert facts.size_multiple == getattr(net, "size_multiple", 1)
    assert facts.receptive_radius == net.receptive_radius


def test_channels_of_a_gray_network_are_found() -> None:
    gray = GENERATORS.build(
        {"name": "MSRResNet", "num_in_ch": 1, "num_out_ch": 1, "num_feat": 4, "num_block": 1}
    )
    drn = GENERATORS.get("DRNGenerator")
    assert facts_of(gray).channels == 1
    assert facts_of(drn(**{**drn.test_args, "n_colors": 1})).channels == 1


def test_facts_of_a_network_that_makes_no_picture_are_refused() -> None:
    predictor = GENERATORS.get("DegradationPredictor")
    with pytest.raises(ConfigError, match="does not turn LR pictures"):
        facts_of(predictor(**predictor.test_args))


def test_facts_survive_their_file(tmp_path: Path) -> None:
    facts = NetworkFacts("HAT", 4, channels=1, rgb_range=255.0, size_multiple=16, receptive_radius=None)
    path = tmp_path / "x.facts.json"
    path.write_text(facts.to_json(paddle="3.3.1"))
    read, entries = NetworkFacts.read(path)
    assert read == facts
    assert entries["paddle"] == "3.3.1"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"network": 1}'])
def test_file_that_describes_no_network_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.facts.json"
    path.write_text(text)
    with pytest.raises(DataError, match="does not describe"):
        NetworkFacts.read(path)
    with pytest.raises(DataError, match="export again"):
        NetworkFacts.read(tmp_path / "missing")


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["MSRResNet", "DRNGenerator", "SwinIR"])
def test_dygraph_backend_equals_the_network(name: str, rng: np.random.Generator) -> None:
    cls = GENERATORS.get(name)
    paddle.seed(0)
    net = cls(**cls.test_args)
    lq = rng.random((2, 3, 9, 13), dtype=np.float32)
    backend = PaddleBackend(net)
    expected = tensor_super_resolve(net, paddle.to_tensor(lq)).numpy()
    np.testing.assert_allclose(super_resolve(backend, lq), expected, atol=1e-6)


def test_range_and_multiple_of_the_network_are_respected(rng: np.random.Generator) -> None:
    backend = Repeat(multiple=8, rgb_range=255.0)
    lq = rng.random((1, 3, 9, 3), dtype=np.float32)
    sr = super_resolve(backend, lq)
    np.testing.assert_allclose(sr, lq.repeat(2, 2).repeat(2, 3), rtol=1e-6)
    assert backend.seen[0].shape == (1, 3, 16, 8)
    assert 128 < backend.seen[0].max() <= 255
    assert backend.seen[0].dtype == np.float32


def test_self_ensemble_turns_every_view_back(rng: np.random.Generator) -> None:
    backend = Repeat()
    lq = rng.random((1, 3, 5, 7), dtype=np.float32)
    np.testing.assert_allclose(self_ensemble(backend, lq), lq.repeat(2, 2).repeat(2, 3), rtol=1e-6)
    assert len({x.tobytes() for x in backend.seen}) == 8


def test_overflow_is_computed_again_and_broken_weights_are_named(caplog: pytest.LogCaptureFixture) -> None:
    lq = np.ones((1, 3, 4, 4), np.float32)
    overflowing = OverflowingRepeat(nan=True)
    assert isinstance(overflowing, ReducedPrecision)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(super_resolve(overflowing, lq), np.ones((1, 3, 8, 8), np.float32))
    assert "full precision" in caplog.text
    with pytest.raises(DataError, match="not finite"):
        super_resolve(Repeat(nan=True), lq)


def test_half_precision_where_there_is_none_is_refused_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    paddle.set_device("cpu")
    for name in ("MSRResNet", "HAT"):
        cls = GENERATORS.get(name)
        with caplog.at_level(logging.WARNING):
            assert not PaddleBackend(cls(**cls.test_args), half=True).half
    assert caplog.text.count("float32 is used") == 2
