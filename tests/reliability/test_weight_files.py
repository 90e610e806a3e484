"""Damaged weight files and configs end in a named error, in bounded time and memory; nothing is executed."""

import codecs
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ppsr.config import load_config
from ppsr.errors import PpsrError
from ppsr.weights import read_weight_file, write_state
from ppsr.weights.identify import NetworkSpec
from ppsr.weights.opcodes import CorruptFile, UnsafeFile
from ppsr.weights.safetensors_files import dump_safetensors
from tests.bars import Bar
from tests.weights.hostile import Watch, mutate, seeds

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
utf = [f"utf-{bits}-{order}" for bits in (16, 32) for order in ("be", "le")]
for name in (*utf, "cp437", "raw-unicode-escape", "unicode-escape"):
    codecs.lookup(name)  # json, zipfile and pickle import them, which the audit would see
REFUSED = {"zip": 0.01, "legacy": 0.08, "pdparams": 0.05}  # at least, of files that pickle could run
FORMATS = ("zip", "legacy", "pdparams", "safetensors", "ncnn")
# in a process that may address 3 GB; VmHWM, because maxrss counts the parent that forked it
DAMAGE = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from tests.reliability.test_weight_files import damage
counts = damage(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(json.dumps({**counts, "peak": int(peak) // 1024}))
"""


def intact(folder: Path, kind: str) -> tuple[Path, bytes]:
    """A small good file of a format; the .bin of ncnn has its .param beside it."""
    if kind in ("zip", "legacy"):
        content = (ROOT / "tests" / "weights" / "data" / f"nest_{kind}.pth").read_bytes()
        return folder / "a.pth", content
    if kind == "safetensors":
        state = {"conv.weight": np.arange(6, dtype="f4").reshape(2, 3), "conv.bias": np.arange(3, dtype="i8")}
        return folder / "a.safetensors", dump_safetensors(state, {"format": "pt"})
    if kind == "ncnn":
        from ppsr.registry import build_generator
        from ppsr.weights.ncnn.writer import write_ncnn

        arguments = {"num_feat": 4, "num_conv": 1, "upscale": 2}
        net = build_generator("SRVGGNetCompact", **arguments)
        state = {key: value.numpy() for key, value in net.state_dict().items()}
        write_ncnn(folder / "a.param", state, ("SRVGGNetCompact", arguments))
        return folder / "a.param", (folder / "a.param").read_bytes()
    return folder / "a.pdparams", next(content for suffix, content in seeds() if suffix == ".pdparams")


def damage(folder: Path, kind: str, count: int, seed: int) -> dict[str, float]:
    """Read `count` damaged files of a format; how it ended, and the slowest."""
    rng, watch = np.random.default_rng(seed), Watch()
    counts = {"refused": 0, "corrupt": 0, "other": 0, "loaded": 0, "slowest": 0.0}
    path, content = intact(folder, kind)
    for index in range(count):
        path.write_bytes(mutate(content, rng))
        start = time.process_time()
        with watch.watching() as events:
            try:
                read_weight_file(path, allow_nonfinite=True)
                counts["loaded"] += 1
            except PpsrError as error:
                assert str(path.with_suffix("")) in str(error)
                known = {UnsafeFile: "refused", CorruptFile: "corrupt"}
                counts[known.get(type(error), "other")] += 1
            seen = list(events)
        assert not seen, f"mutation {index}: {seen}"
        counts["slowest"] = max(counts["slowest"], time.process_time() - start)
    return counts


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_weight_files_end_in_a_named_error(tmp_path: Path, bar: Bar, kind: str) -> None:
    count = bar.count(20_000)
    command = [sys.executable, "-c", DAMAGE, str(tmp_path), kind, str(count), str(bar.seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    bar.report(
        f"S2 mutated weights, {kind}",
        f"{count} files: 0 other exceptions, 0 above 2 s, below 1024 MB",
        f"{count - found['loaded']} refused, {found['loaded']} read, slowest {found['slowest']:.2f} s, "
        f"{found['peak']} MB",
    )
    assert sum(found[name] for name in ("refused", "corrupt", "other", "loaded")) == count
    assert found["corrupt"] > 0.8 * count
    assert found["refused"] >= REFUSED.get(kind, 0) * count
    assert found["slowest"] < 2
    assert found["peak"] < 1024


def test_hostile_configs_end_in_a_named_error(tmp_path: Path, bar: Bar) -> None:
    configs = [path.read_text() for path in sorted((ROOT / "configs").glob("*.yaml"))]
    crafted = ["!!python/object/apply:os.system [ls]", "a: &a [*a]"]
    crafted += ["- " * 2000, "[" * 5000, "a: " + "9" * 5000]
    rng, watch, count, refused, slowest = bar.rng(), Watch(), bar.count(1000), 0, 0.0
    for index in range(count):
        text = crafted[index] if index < len(crafted) else configs[index % len(configs)]
        content = text.encode() if index < len(crafted) else mutate(text.encode(), rng)
        path = tmp_path / "a.yaml"
        path.write_bytes(content)
        overrides = [mutate(b"model.generator.num_feat=64", rng).decode("latin1")] if index % 2 else []
        start = time.process_time()
        with watch.watching() as events:
            try:
                load_config(path, overrides)
            except PpsrError:
                refused += 1
            seen = list(events)
        assert not seen, f"{content!r:.200}: {seen}"
        slowest = max(slowest, time.process_time() - start)
    bar.report(
        "S5 hostile configs",
        f"{count} files and overrides: 0 executed, 0 other exceptions, 0 above 1 s",
        f"{refused} refused, slowest {slowest:.2f} s",
    )
    assert refused >= len(crafted)
    assert slowest < 1


@pytest.mark.parametrize("kind", [".pdparams", ".safetensors", ".pth"])
def test_flipped_bits_are_detected(tmp_path: Path, bar: Bar, kind: str) -> None:
    rng, count = bar.rng(), max(400, bar.count(1000))
    state = {"generator": {"w": rng.standard_normal((40, 30)).astype("f4"), "b": np.arange(9, dtype="f4")}}
    path = tmp_path / f"a{kind}"
    write_state(path, state, networks={"generator": NetworkSpec("SRVGGNetCompact", {"upscale": 4})})
    good, content = read_weight_file(path), path.read_bytes()
    detected = harmless = 0
    for _ in range(count):
        changed = bytearray(content)
        changed[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            file = read_weight_file(path)
        except PpsrError:
            detected += 1
            continue
        assert (file.layout, file.networks) == (good.layout, good.networks)
        assert all(np.array_equal(file.nets["generator"][k], v) for k, v in state["generator"].items())
        harmless += 1  # in what no number depends on, as the date of an archive's member
    bar.report(
        f"S6 flipped bits, {kind}",
        f"{count} flips: 0 change a number that is read",
        f"{detected} refused, {harmless} in bytes without a number",
    )
    assert detected + harmless == count
    assert detected > 0.9 * count or kind == ".pth"
