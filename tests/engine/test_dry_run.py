"""What `--dry-run` finds out before a long run."""

import paddle
import pytest
import yaml

from ppsr.cli.train import main
from ppsr.engine.dry_run import peak_memory
from tests.engine.helpers import CONFIG, make_images

SMALL = {"num_feat": 4, "num_conv": 1, "upscale": 1}


@pytest.fixture
def depth(tmp_path):
    """A config for maps of one channel, whose LR is as large as HR."""
    pairs = {"name": "DepthDataset", "channels": 1, "scale": 1}
    pairs |= {f"{kind}_folder": str(make_images(tmp_path / kind, count=2)) for kind in ("gt", "lq")}
    config = {
        **{key: CONFIG[key] for key in ("total_iters", "lr_scheduler")},
        "optimizer": {"name": "Adam", "net_names": ["generator"]},
        "model": {
            "name": "SRModel",
            "generator": {"name": "SRVGGNetCompact", "num_in_ch": 1, "num_out_ch": 1, **SMALL},
            "pixel_criterion": {"name": "L1Loss"},
        },
        "dataset": {"train": {**pairs, "gt_size": 16, "batch_size": 2}, "test": pairs},
        "validate": {"interval": 5, "metrics": {"rmse": {"name": "RMSE"}}},
    }
    path = tmp_path / "depth.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_network_of_one_channel_is_measured(depth, capsys):
    assert main(["-c", str(depth), "--dry-run", "--no-cuda"]) == 0
    printed = capsys.readouterr().out
    assert "everything builds, one step runs" in printed
    # 3x3 convolutions 1 -> 4 -> 4 -> 1 of 64 x 64 pixels
    assert f"{9 * (4 + 16 + 4) * 64**2 / 1e9:.3f} G" in printed


def test_the_peak_is_asked_of_the_device_that_trains(monkeypatch):
    asked = []
    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:1")
    monkeypatch.setattr(
        paddle.device.cuda, "max_memory_allocated", lambda device: asked.append(device) or 2**21
    )
    assert peak_memory() == 2
    assert asked == ["gpu:1"]


@pytest.mark.skipif(paddle.device.is_compiled_with_cuda(), reason="this Paddle may have the device")
@pytest.mark.parametrize("device", ["gpu", "gpu:99", "cuda", "gpu:x"])
def test_a_missing_device_is_refused_in_one_line(depth, capsys, device):
    assert main(["-c", str(depth), "--dry-run", "--device", device]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --device {device}: this Paddle finds 0 GPU(s); use --device cpu")


def test_a_validation_set_that_is_not_there_is_found_before_the_first_validation(depth, capsys, tmp_path):
    missing = f"dataset.test.lq_folder={tmp_path / 'nowhere'}"
    assert main(["-c", str(depth), "--dry-run", "--no-cuda", "-o", missing]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["-c", str(depth), "--dry-run", "--no-cuda", "-o", missing, "validate.interval=-1"]) == 0
