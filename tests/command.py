"""The command line, within this process."""

from click.testing import Result
from typer.testing import CliRunner

from ppsr.cli import build_app


def run_ppsr(*arguments: object) -> Result:
    """What `ppsr` does with these arguments."""
    return CliRunner().invoke(build_app(), list(map(str, arguments)))
