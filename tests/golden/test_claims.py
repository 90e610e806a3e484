"""Every golden file belongs to a family that a test module claims."""

from importlib import import_module
from pathlib import Path

from tests.golden.files import CLAIMED, DATA


def test_every_golden_file_is_claimed():
    for module in Path(__file__).parent.glob("test_*.py"):
        import_module(f"tests.golden.{module.stem}")
    unclaimed = sorted({p.stem for p in DATA.glob("*.npz")} - CLAIMED)
    assert not unclaimed, f"no test reads {unclaimed}"
