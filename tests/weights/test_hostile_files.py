"""Hostile and damaged weight files: nothing executed, no stray exception, no slow file."""

from __future__ import annotations

import codecs  # noqa: F401  loaded before the audit starts, like the next: the readers import them lazily
import encodings.cp437
import encodings.raw_unicode_escape
import encodings.unicode_escape  # noqa: F401
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ppsr.weights import read_file
from ppsr.weights.opcodes import CorruptFile, UnsafeFile
from tests.weights.hostile import DANGEROUS, Watch, files, mutate, seeds

FIXTURES = Path(__file__).parent / "data"
MARK = Path("/tmp/ppsr-must-not-exist")


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


def outcome(path: Path) -> str:
    """How reading ends; anything but these three is a failure of the reader."""
    try:
        read_file(path, allow_nonfinite=True)
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
        read_file(file)


def damage(tmp_path: Path, watch: Watch, count: int) -> Counter[str]:
    rng = np.random.default_rng(20)
    good = seeds() + [(".pth", (FIXTURES / f"nest_{kind}.pth").read_bytes()) for kind in ("zip", "legacy")]
    counts: Counter[str] = Counter()
    for index in range(count):
        suffix, content = good[index % len(good)]
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(mutate(content, rng))
        start = time.process_time()
        with watch.watching() as events:
            counts[outcome_of_damage(path)] += 1
            seen = list(events)
        assert not seen, f"mutation {index}: {seen}"
        assert time.process_time() - start < 2, f"mutation {index} is slow"
    return counts


def outcome_of_damage(path: Path) -> str:
    from ppsr.errors import WeightError

    try:
        return outcome(path)
    except WeightError:
        return "no weights"


def test_damaged_files_end_in_a_named_error(tmp_path: Path, watch: Watch) -> None:
    counts = damage(tmp_path, watch, 3000)
    assert counts["corrupt"] > 1500 and counts["refused"] > 100


LIMITED = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from tests.weights.hostile import Watch
from tests.weights.test_hostile_files import damage
counts = damage(Path(sys.argv[1]), Watch(), 20_000)
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(json.dumps({**counts, "peak": int(peak)}))
"""


@pytest.mark.slow
def test_twenty_thousand_damaged_files_end_in_a_named_error_within_a_gigabyte(tmp_path: Path) -> None:
    """In a process that may address 3 GB; its VmHWM, because maxrss counts the parent that forked it."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts.pop("peak") < 1_000_000  # KiB
    assert counts["corrupt"] > 10_000 and counts["refused"] > 700
    assert sum(counts.values()) == 20_000
