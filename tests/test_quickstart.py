"""The main job of `make quickstart` in a handful of steps: all of it but the quality of real training."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppsr import quickstart
from ppsr.engine.run import newest_run

BICUBIC = (29.0, 0.78)


@pytest.fixture
def short(tmp_path, monkeypatch):
    """A folder with the config of the quickstart, cut to four steps."""
    base = Path(quickstart.CONFIG).resolve()
    config = tmp_path / quickstart.CONFIG
    config.parent.mkdir()
    config.write_text(
        f"base: {base}\n"
        "total_iters: 4\n"
        "dataset: {train: {num_workers: 0, queue_size: 0, batch_size: 1}}\n"
        "validate: {interval: 4}\n"
        "log_config: {interval: 4, visual_interval: 4}\n"
        "snapshot_config: {interval: 4}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("network", "code"), [((29.1, 0.79), 0), ((29.1, 0.77), 1), ((28.9, 0.79), 1)])
def test_the_exit_code_tells_whether_the_network_beats_bicubic(short, monkeypatch, capsys, network, code):
    measured = []
    compare = quickstart.compare

    def compare_and_replace(upscaler):
        measured.append(compare(upscaler))
        return {"bicubic": BICUBIC, "CDDNet": network}

    monkeypatch.setattr(quickstart, "compare", compare_and_replace)
    assert quickstart.main() == code
    assert measured[0]["bicubic"] == pytest.approx((29.194, 0.7876), abs=1e-3)
    out, err = capsys.readouterr()
    assert ("not better than bicubic" in err) == (code == 1)
    assert "3 upscaled pictures" in out
    run = newest_run("quickstart", short / "output")
    assert sorted(path.stem for path in (run / "upscaled").glob("*.png")) == ["chelsea", "coffee", "rocket"]
    assert (run / "before_after.png").is_file()


def test_a_wrong_folder_is_said_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert quickstart.main() == 2
    assert "run this from the project's folder" in capsys.readouterr().err
