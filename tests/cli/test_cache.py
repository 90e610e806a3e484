"""`ppsr cache` lists and removes what can be made again, and nothing else."""

from tests.command import run_ppsr


def _run(*arguments):
    result = run_ppsr("cache", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_sizes_are_listed_and_clearing_keeps_weights(tmp_path, monkeypatch):
    monkeypatch.delenv("PPSR_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "ppsr"
    files = ["exports/abc/net.json", "weights/a.pth", "backends.json"]
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(40_000 if name == "backends.json" else 2_500_000))
    listed = _run()
    assert str(folder) in listed
    assert listed.count("2.5 MB") == listed.count("40.0 kB") == 1
    assert all((folder / name).exists() for name in files)
    _run("--clear")
    assert [name for name in files if (folder / name).exists()] == ["weights/a.pth"]
    assert _run().count(" 0 bytes ") == 3
