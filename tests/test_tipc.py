"""test_tipc/: its files follow from the configs, its scripts run the right commands, and report what
fails."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ppsr.config import check_config, load_config

ROOT = Path(__file__).parents[1]
TIPC = ROOT / "test_tipc"
FILES = sorted(TIPC.glob("configs/*/*.txt"))
LITE = "lite_train_lite_infer"
every_file = pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)

# Stands in for Python: notes the command, fails where $FAIL stands in it, and leaves weights as a training
# does.
FAKE_PYTHON = """#!/bin/bash
echo "CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES-} $*" >>commands.txt
[[ -z $FAIL || $* != *"$FAIL"* ]] || { echo "it went wrong"; exit 7; }
for word in "$@"; do
    case $word in output_dir=*)
        mkdir -p "${word#*=}/cddnet_x4-1" "${word#*=}/cddnet_x4-2"
        touch -d 2020-01-01 "${word#*=}/cddnet_x4-1/iter_4_weight.pdparams"
        touch "${word#*=}/cddnet_x4-2/iter_4_weight.pdparams" ;;
    esac
done
"""


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TIPC))
    yield importlib.import_module
    for name in ("generate", "compare_results"):
        sys.modules.pop(name, None)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project as the scripts see it, where they may write."""
    for name in ("ppsr", "configs", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(TIPC, tmp_path / "test_tipc", ignore=shutil.ignore_patterns("output", "__pycache__"))
    return tmp_path


def lines_of(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def overrides(file: Path) -> list[str]:
    key, _, words = lines_of(file)[52].partition(f":{LITE}=")
    assert key == "overrides"
    return words.split()


def bash(folder: Path, script: str, *arguments: str, python: Path, **env: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", **env}
    command = ["bash", f"test_tipc/{script}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run_with_fake(project: Path, *arguments: str, fail: str = "") -> tuple[int, list[str], list[str]]:
    """Exit code, commands, and lines of the results log."""
    fake = project / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(FAKE_PYTHON)
    fake.chmod(0o755)
    parameters = "test_tipc/configs/cddnet/train_infer_python.txt"
    done = bash(project, "test_train_inference_python.sh", parameters, *arguments, python=fake, FAIL=fail)
    log = project / "test_tipc" / "output" / "cddnet" / arguments[0] / "results_python.log"
    commands = (project / "commands.txt").read_text().splitlines()
    assert ("it went wrong" in done.stdout) == bool(fail)
    return done.returncode, commands, log.read_text().splitlines()


def test_regenerating_the_files_changes_nothing(modules) -> None:
    generate: ModuleType = modules("generate")
    made = generate.contents()
    assert sorted(made) == FILES
    stale = [p.parent.name for p in FILES if p.read_text(encoding="utf-8") != made[p]]
    assert not stale, "run python test_tipc/generate.py"


@every_file
def test_overrides_give_a_small_config_on_the_samples(file: Path) -> None:
    config_file = ROOT / lines_of(file)[15].split()[2]
    config = load_config(config_file, overrides(file))
    check_config(config)
    published = load_config(config_file)
    assert config["model"]["name"] == published["model"]["name"]
    assert config["model"]["generator"] != published["model"]["generator"]
    for split in ("train", "test"):
        folders = [v for k, v in config["dataset"][split].items() if k.endswith("_folder")]
        assert folders
        assert all(folder.startswith("data/samples/") for folder in folders)


def test_each_command_takes_what_the_one_before_made(project: Path) -> None:
    code, commands, log = run_with_fake(project, LITE)
    assert code == 0
    assert len(log) == len(commands) == 5
    assert all(line.startswith("Run successfully with command - cddnet - python ") for line in log)
    save = f"./test_tipc/output/cddnet/{LITE}/norm_train_gpus_-1_autocast_null"
    weights = f"{save}/cddnet_x4-2/iter_4_weight.pdparams"  # the newest
    train, evaluate, export, infer, compare = commands
    assert f" output_dir={save} total_iters=4 dataset.train.batch_size=2 --device cpu" in train
    assert f" --evaluate-only --load {weights} --device cpu -o model." in evaluate
    assert f" --load {weights} --output_dir {save} -o model." in export
    assert f" --model_path={save}/inference --batch_size=1 --precision=fp32 -o model." in infer
    assert compare.endswith(
        f"--gt_file {save}_nodes_1_eval.log --log_file test_tipc/output/cddnet/metric.txt"
    )


def test_whole_mode_runs_the_config_as_it_is(project: Path) -> None:
    code, commands, _ = run_with_fake(project, "whole_train_whole_infer", "0|0,1")
    assert code == 0
    assert len(commands) == 10
    assert not any(word in command for command in commands for word in ("samples", "total_iters", "cpu"))
    assert commands[0].startswith("CUDA_VISIBLE_DEVICES=0 tools/main.py -c configs/cddnet_x4.yaml")
    assert commands[5].startswith("CUDA_VISIBLE_DEVICES= -m paddle.distributed.launch --gpus=0,1 ")
    assert "--device=gpu" in commands[3]
    assert not any(command.endswith(" -o") for command in commands)


@pytest.mark.parametrize(
    ("fail", "count"), [("--seed 123 -o", 1), ("--evaluate-only", 2), ("export_model", 3), ("compare_", 5)]
)
def test_a_failing_command_is_reported_and_ends_its_chain(project: Path, fail: str, count: int) -> None:
    code, commands, log = run_with_fake(project, LITE, fail=fail)
    assert code == 1
    assert len(commands) == len(log) == count
    assert log[-1].startswith("Run failed with command - cddnet - ")
    assert all(line.startswith("Run successfully") for line in log[:-1])


def test_training_that_leaves_no_weights_is_a_failure(project: Path) -> None:
    file = project / "test_tipc" / "configs" / "cddnet" / "train_infer_python.txt"
    file.write_text(file.read_text().replace("train_model_name:cddnet_x4-", "train_model_name:other-"))
    code, commands, log = run_with_fake(project, LITE)
    assert code == 1
    assert len(commands) == 1
    assert log[-1].startswith("Run failed with command - cddnet - ls ")


@pytest.mark.parametrize("script", ["prepare.sh", "test_train_inference_python.sh"])
def test_wrong_usage_is_answered(project: Path, script: str) -> None:
    for arguments, message in (
        (["test_tipc/configs/cddnet/train_infer_python.txt", "lite"], "got 'lite'"),
        (["nothing.txt", LITE], "there is no parameter file 'nothing.txt'"),
    ):
        done = bash(project, script, *arguments, python=Path(sys.executable))
        assert done.returncode == 2
        assert message in done.stderr


@pytest.mark.parametrize(
    ("expected", "actual", "code"),
    [
        ("[11/21 10:00:00] x INFO: Metric psnr: 30.0000\n", "Metric psnr: 30.0300\n", 0),
        ("Metric psnr: 10.0\nMetric psnr: 30.0\n", "Metric psnr: 30.0\n", 0),
        ("Metric psnr: inf\n", "Metric psnr: inf\n", 0),
        ("Metric psnr: 30.0000\n", "Metric psnr: 30.0400\n", 1),
        ("Metric psnr: 30.0000\n", "Metric psnr: nan\n", 1),
        ("Metric psnr: 30.0000\n", "Metric psnr: 30.0000\nMetric ssim: 0.8\n", 1),
        ("Metric psnr: 30.0000\n", "", 1),
        ("", "", 1),
    ],
)
def test_scores_must_agree_and_exist(modules, tmp_path: Path, expected: str, actual: str, code: int) -> None:
    compare: ModuleType = modules("compare_results")
    (tmp_path / "a").write_text(expected)
    (tmp_path / "b").write_text(actual)
    assert compare.main(["--gt_file", f"{tmp_path}/a", "--log_file", f"{tmp_path}/b"]) == code


@pytest.mark.slow
def test_cddnet_trains_exports_and_infers_to_the_same_scores(project: Path) -> None:
    """The two commands of the documentation, from nothing; `make tipc` does it for every model."""
    python, parameters = Path(sys.executable), "test_tipc/configs/cddnet/train_infer_python.txt"
    done = bash(project, "prepare.sh", parameters, LITE, python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    done = bash(project, "test_train_inference_python.sh", parameters, LITE, python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    output = project / "test_tipc" / "output" / "cddnet"
    log = (output / LITE / "results_python.log").read_text().splitlines()
    assert len(log) == 5
    assert all(line.startswith("Run successfully with command - cddnet - ") for line in log)
    assert {p.stem for p in output.glob("*.png")} == {"chelsea", "coffee", "rocket"}
