"""Hostile and damaged weight files: nothing executed, no stray exception, no slow file."""

import codecs  # noqa: F401  loaded before the audit starts, like the next: the readers import them lazily
import encodings.cp437
import encodings.raw_unicode_escape
import encodings.unicode_escape  # noqa: F401
import time
from collections import Counter
from pathlib import Path

import pytest

from ppsr.weights import read_weight_file
from ppsr.weights.opcodes import CorruptFile, UnsafeFile
from tests.weights.hostile import DANGEROUS, Watch, files

MARK = Path("/tmp/ppsr-must-not-exist")


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


def outcome(path: Path) -> str:
    """How reading ends; anything but these three is a failure of the reader."""
    try:
        read_weight_file(path, allow_nonfinite=True)
    except UnsafeFile as error:
        assert str(path) in str(error)
        return "refused"
    except CorruptFile as error:
        assert str(path) in str(error)
        return "corrupt"
    return "loaded"


def test_watch_sees_what_a_hostile_file_would_do(watch: Watch) -> None:
    with watch.watching() as events:
        eval("1")
    assert events


@pytest.mark.slow
def test_crafted_files_execute_nothing(tmp_path: Path, watch: Watch) -> None:
    counts: Counter[str] = Counter()
    loaded = []
    start = time.process_time()
    for name, suffix, content in files():
        path = tmp_path / f"hostile{suffix}"
        path.write_bytes(content)
        with watch.watching() as events:
            result = outcome(path)
            seen = list(events)
        assert not seen, f"{name}: {seen}"
        counts[result] += 1
        if result == "loaded":
            loaded.append(name)
    assert sum(counts.values()) >= 2400
    assert counts["refused"] > 2200
    assert not loaded
    assert time.process_time() - start < 60
    assert not MARK.exists()


@pytest.mark.parametrize("path", DANGEROUS[:: len(DANGEROUS) // 12])
def test_error_names_the_foreign_global(tmp_path: Path, path: str) -> None:
    file = tmp_path / "x.pdparams"
    wanted = f"{path} global reduce in bare"
    file.write_bytes(next(content for name, _, content in files() if name == wanted))
    with pytest.raises(UnsafeFile, match=path):
        read_weight_file(file)
