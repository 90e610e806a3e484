"""`ppsr convert-config`."""

import pytest
import yaml

from ppsr.config import check_config, load_config
from tests.command import run_ppsr
from tests.compat.options import files


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "train_DRCT.yml"
    options = files.changed(files.transformer_train("DRCT", 4, "scratch"), {"network_g.shiny": 3})
    path.write_text(yaml.safe_dump(options))
    return path


def _run(*arguments):
    return run_ppsr("convert-config", *arguments)


@pytest.mark.smoke
def test_it_writes_a_config_that_checks_and_prints_what_is_lost(source, tmp_path):
    target = tmp_path / "drct.yaml"
    result = _run(source, "-o", target)
    assert result.exit_code == 0
    assert "network_g.shiny: 3" in result.output
    assert "replacing" not in result.output
    assert "shiny" in target.read_text()
    experiment = check_config(load_config(target))
    assert experiment.total_iters == 500_000
    assert "replacing an earlier file" in _run(source, "-o", target).output


@pytest.mark.parametrize(
    ("output", "message"), [("drct.txt", "must end in .yaml"), ("train_DRCT.yml", "is the file to convert")]
)
def test_a_wrong_target_is_refused(source, tmp_path, output, message):
    before = source.read_text()
    result = _run(source, "-o", tmp_path / output)
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert source.read_text() == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bad.yml", "x: 1\n", "not an option file"),
        ("bad.json", '{"task": 1 // of today\n}', "JSON option files, such as KAIR's"),
        ("bad.toml", "scale = 4\n", "TOML option files"),
    ],
)
def test_a_file_that_cannot_be_converted_leaves_nothing(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    result = _run(tmp_path / name, "-o", tmp_path / "out.yaml")
    assert message in str(result.exception)
    assert not (tmp_path / "out.yaml").exists()


def test_a_missing_file_is_named(tmp_path):
    result = _run(tmp_path / "none.yml", "-o", tmp_path / "out.yaml")
    assert "none.yml" in str(result.exception)
