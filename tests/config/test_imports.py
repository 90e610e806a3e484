"""Components of one's own: a module that registers them, named in a config or on the command line."""

import json
import re
import sys

import pytest

from ppsr.cli import build_app
from ppsr.cli.train import main
from ppsr.config import check_config, load_config
from ppsr.errors import ConfigError
from ppsr.registry import CRITERIONS, Registry
from tests.engine.helpers import write_config

LOSS = """
from paddle import nn

from ppsr.registry import CRITERIONS


@CRITERIONS.register()
class PowerLoss(nn.Layer):
    def __init__(self, *, power: float = 3.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, sr, gt):
        return ((sr - gt).abs() ** self.power).mean()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a package that has a loss."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "losses.py").write_text(LOSS)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    objects = dict(CRITERIONS._objects)
    yield tmp_path
    CRITERIONS._objects.clear()
    CRITERIONS._objects.update(objects)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_package", "broken")]:
        del sys.modules[name]


def with_lines(path, *lines: str):
    path.write_text(path.read_text() + "\n".join(["", *lines, ""]))
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("named_in", ["config", "flag"])
def test_a_loss_of_ones_own_trains(folder, named_in):
    path = write_config(folder)
    flags = ["--import", "my_package.losses"]
    if named_in == "config":
        with_lines(path, "imports: [my_package.losses]")
        flags = []
    lists = ["model.criterions=[{name: PowerLoss, power: 2, loss_weight: 0.5}]", "total_iters=1"]
    assert main(["-c", str(path), *flags, "-o", *lists, "log_config.interval=1", "--no-cuda"]) == 0
    (run,) = (folder / "output").glob("tiny-*")
    scalars = json.loads((run / "scalars.jsonl").read_text().splitlines()[0])
    assert scalars["l_power"] > 0
    assert json.loads((run / "config.json").read_text())["imports"] == ["my_package.losses"]


def test_a_mistake_in_a_loss_of_ones_own_is_named_with_its_line(folder, capsys):
    losses = folder / "my_package" / "losses.py"
    losses.write_text(LOSS.replace("self.power).mean()", "self.pow).mean()"))
    options = ["model.criterions=[{name: PowerLoss}]", "total_iters=1"]
    flags = ["-c", str(write_config(folder)), "--import", "my_package.losses", "--no-cuda"]
    assert main([*flags, "-o", *options]) == 2
    assert re.search(r"l_power failed: AttributeError.*\(losses\.py, line \d+\)", capsys.readouterr().err)


def test_a_name_in_use_is_refused_before_anything_was_listed(folder, monkeypatch):
    registry = Registry("loss", "my_package")
    monkeypatch.setattr(sys.modules[__name__], "OWN", registry, raising=False)
    package = f"from {__name__} import OWN\nOWN.lazy({{'int': 'builtins:int'}})"
    (folder / "my_package" / "__init__.py").write_text(package)
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ConfigError, match="loss 'int' is registered twice"):
        registry.register(int)


def test_options_of_ones_own_components_are_checked(folder):
    path = write_config(folder)
    with_lines(path, "imports: [my_package.losses]")
    for entry, message in (
        ("{name: PowerLos}", "did you mean 'PowerLoss'"),
        ("{name: PowerLoss, powr: 2}", "did you mean 'power'"),
        ("{name: PowerLoss, power: two}", "'model.criterions.0.power' is 'two'"),
    ):
        with pytest.raises(ConfigError) as error:
            check_config(load_config(path, [f"model.criterions=[{entry}]"]))
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("imports: [my_package.loses]", "there is no module 'my_package.loses'"),
        ("imports: [my_packag.losses]", "there is no module 'my_packag'"),
        (
            "imports: [broken]",
            "importing 'broken' failed: ZeroDivisionError: division by zero (broken.py, line 1)",
        ),
        ("imports: my_package", "'imports' must be a list of modules, got 'my_package'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_line(folder, line, message):
    path = write_config(folder)
    at = with_lines(path, line)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert f"{path}:{at}: " in str(error.value)
    assert message in str(error.value)


def test_every_command_takes_a_module_before_its_name(folder, capsys):
    build_app()(["--import", "my_package.losses", "models", "list"], standalone_mode=False)
    assert "PowerLoss" in CRITERIONS
    with pytest.raises(ConfigError, match="no module 'nothing'"):
        build_app()(["--import", "nothing", "models", "list"], standalone_mode=False)
