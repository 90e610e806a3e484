"""Names and files of models on the command line."""

from __future__ import annotations

import pytest

from ppsr.errors import ConfigError
from ppsr.serve.models import named_models


@pytest.fixture
def weights(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.pdparams").write_bytes(b"")
    return [tmp_path / "a.pdparams", tmp_path / "b.pdparams"]


def test_models_are_named_by_the_user_or_by_their_file(weights, tmp_path):
    first, second = weights
    config = tmp_path / "c.yaml"
    assert named_models([str(first), f"sharp={second}"], []) == {
        "a": ([first], None),
        "sharp": ([second], None),
    }
    both = list(map(str, weights))
    assert named_models(both, [config]) == {"a": ([first], config), "b": ([second], config)}
    other = tmp_path / "d.yaml"
    assert [c for _, c in named_models(both, [config, other]).values()] == [config, other]


def test_a_model_may_have_several_files_or_be_an_exported_network(weights, tmp_path):
    first, second = weights
    assert named_models([f"blind={first}+{second}"], []) == {"blind": ([first, second], None)}
    assert named_models([f"{first}+{second}"], []) == {"a": ([first, second], None)}
    (tmp_path / "net.info.json").write_bytes(b"")
    assert named_models([str(tmp_path / "net")], []) == {"net": ([tmp_path / "net"], None)}


def test_a_file_whose_name_has_an_equals_sign_is_a_file(tmp_path):
    path = tmp_path / "lr=1.pdparams"
    path.write_bytes(b"")
    assert named_models([str(path)], []) == {"lr=1": ([path], None)}


def test_models_of_one_name_and_missing_files_are_refused(weights, tmp_path):
    with pytest.raises(ConfigError, match="two models are called 'a'"):
        named_models([str(weights[0]), f"a={weights[1]}"], [])
    with pytest.raises(ConfigError, match="no weight file and no exported network"):
        named_models([f"x={tmp_path / 'none.pdparams'}"], [])
    with pytest.raises(ConfigError, match="2 configs for 1"):
        named_models([str(weights[0])], [tmp_path, tmp_path])


def test_a_folder_of_a_run_and_a_name_of_the_catalogue_are_found(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "best_weight.pdparams").touch()
    assert named_models([str(run)], []) == {"run": ([run / "best_weight.pdparams"], None)}
    got = tmp_path / "RealESRGAN_x4plus.pth"
    got.touch()
    monkeypatch.setattr("ppsr.weights.resolve.get_entry", lambda entry: got)
    assert named_models(["realesrgan-x4plus"], []) == {"realesrgan-x4plus": ([got], None)}
