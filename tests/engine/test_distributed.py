"""Several processes on one machine: equal ranks, equal to one process with the whole batch."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from paddle.distributed import parallel

from ppsr.engine import distributed
from ppsr.engine.run import newest_run
from ppsr.weights import read_weight_file
from tests.engine.helpers import make_images, make_trainer, write_config

MAIN = Path(__file__).parents[2] / "tools" / "main.py"
# no dropout, whose masks are drawn per rank, and an optimizer that does not amplify rounding
OPTIONS = [
    "model.generator.column_dropout=0.0",
    "model.generator.row_dropout=0.0",
    "dataset.train.queue_size=0",
    "total_iters=5",
    "optimizer={name: SGD, net_names: [generator, predictor]}",
    "lr_scheduler.learning_rate=0.05",
]


def _launch(config, folder, *arguments, options=()):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "paddle.distributed.launch", "--log_dir", str(folder), *arguments]
    command += [str(MAIN), "-c", str(config), "--device", "cpu", "-o", *OPTIONS, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, cwd=folder.parent, **pipes)


def _weights(config):
    run = newest_run(config.stem, config.parent / "output")
    return read_weight_file(run / "iter_5_weight.pdparams").nets["generator"]


def _config(folder):
    """With a validation set of five images in sub-folders, all of one base name."""
    images = make_images(folder / "made", count=5)
    for index, path in enumerate(sorted(images.iterdir())):
        (folder / "val" / f"clip{index}").mkdir(parents=True)
        path.rename(folder / "val" / f"clip{index}" / "0.png")
    test = {
        "name": "GTDataset",
        "scale": 2,
        "degradation": "matlab_bicubic",
        "gt_folder": str(folder / "val"),
    }
    path = write_config(folder, validate={"interval": 5, "metrics": {"psnr": {"name": "PSNR"}}})
    config = yaml.safe_load(path.read_text())
    config["dataset"]["test"] = test
    path.write_text(yaml.safe_dump(config))
    return path


def _psnr(run):
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    (value,) = [line["psnr"] for line in lines if line["split"] == "validate"]
    return value


def _differences(config, folder):
    """Largest differences of weights and of PSNR to one process with the whole batch."""
    one = make_trainer(config, folder / "one", [*OPTIONS, "dataset.train.batch_size=4"])
    assert one.train() == 0
    ours = _weights(config)
    state = one.state.model.nets["generator"].state_dict()
    weights = max(float(np.abs(ours[key] - value.numpy()).max()) for key, value in state.items())
    return weights, abs(_psnr(newest_run(config.stem, config.parent / "output")) - _psnr(folder / "one"))


@pytest.mark.slow
@pytest.mark.reliability
def test_two_ranks_equal_one_process_with_twice_the_batch(tmp_path, bar):
    config = _config(tmp_path)
    process = _launch(config, tmp_path / "log", "--nproc_per_node", "2")
    output = process.communicate(timeout=180)[0]
    assert process.returncode == 0, output[-3000:]
    weights, psnr = _differences(config, tmp_path)
    assert weights <= 1e-6
    assert psnr < 1e-4  # the weights differ by rounding
    nodes = ""
    if bar.full:
        ours = _weights(config)
        shutil.rmtree(config.parent / "output")
        codes, outputs = _two_nodes(config, tmp_path)
        assert codes == [0, 0], outputs[0][-3000:]
        assert all(np.array_equal(ours[key], value) for key, value in _weights(config).items())
        nodes = ", two nodes equal bit by bit"
    required = "2 ranks equal 1 process within 1e-6, 2 nodes equal 1 node"
    bar.report("D1 ranks", required, f"{weights:.1e}{nodes}")


def _two_nodes(config, folder, options=()):
    """Exit codes and outputs of two nodes on loopback; the second has further options."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in range(2):
        place = f"--nnodes 2 --master 127.0.0.1:{port} --rank {rank} --nproc_per_node 1".split()
        nodes.append(_launch(config, folder / f"log{rank}", *place, options=options if rank else ()))
    outputs = [node.communicate(timeout=180)[0] for node in nodes]
    return [node.returncode for node in nodes], outputs


@pytest.mark.slow
def test_a_node_with_another_batch_size_is_refused_at_start(tmp_path):
    codes, _ = _two_nodes(_config(tmp_path), tmp_path, ["dataset.train.batch_size=3"])
    assert 0 not in codes
    for rank in range(2):
        log = "".join(path.read_text() for path in (tmp_path / f"log{rank}").glob("workerlog.*"))
        assert "dataset.train.batch_size is 3, on rank 0 2" in log
        assert "Traceback" not in log


def test_processes_asked_for_on_the_cpu_do_not_end_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a build for GPUs Paddle chooses NCCL, and the place, unless it is told of gloo."""
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    monkeypatch.setenv("PADDLE_DISTRI_BACKEND", "auto")
    monkeypatch.setattr(parallel.core, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(parallel, "_global_parallel_env", None)  # where Paddle keeps the number of ranks
    on_cpu = []

    def init() -> None:
        on_cpu.append(parallel._is_cpuonly(os.environ["PADDLE_DISTRI_BACKEND"]))

    monkeypatch.setattr(distributed.dist, "init_parallel_env", init)
    monkeypatch.setattr(distributed, "shared_counters", lambda: None)
    distributed.start_distributed("cpu")
    assert on_cpu == [True]


RANK = """
import numpy as np, paddle
from ppsr.engine.buckets import GradientBuckets
from ppsr.engine.distributed import start_distributed

group = start_distributed("cpu")
paddle.seed(0)
net = paddle.nn.Sequential(*[paddle.nn.Linear(8, 8) for _ in range(6)])
buckets = GradientBuckets(net.parameters(), group.world, group.start_sum, size=300)

def gradients(rank, step):
    x = paddle.to_tensor(np.random.default_rng((rank, step)).random((4, 8), np.float32))
    used = net[:5] if rank else net  # the second rank leaves a layer unused
    used(x).square().mean().backward()
    return [np.zeros(p.shape, np.float32) if p.grad is None else p.grad.numpy() for p in net.parameters()]

def clear():
    for parameter in net.parameters():
        parameter.clear_gradient(False)

for step in range(4):
    expected = []
    for rank in range(2):
        expected.append(gradients(rank, step))
        clear()
    buckets.start()
    gradients(group.rank, step)
    flags = buckets.finish([paddle.full([1], group.rank, "float32")]).numpy()
    assert flags.tolist() == [2.0] * 10 + [1.0] * 3, flags
    for parameter, one, two in zip(net.parameters(), *expected):
        np.testing.assert_allclose(parameter.grad.numpy(), (one + two) / 2, rtol=1e-6, atol=1e-9)
    clear()
assert buckets._overlap and len(buckets._buckets) > 4
"""


LATE = """
import time
from ppsr.engine.distributed import start_distributed

group = start_distributed("cpu")
if group.rank == 1:
    time.sleep(SECONDS)
assert group.maximum(float(group.rank)) == 1.0
assert group.gather(group.rank) == [0, 1]
"""


def _run_ranks(folder, program):
    script = folder / "rank.py"
    # without Python's end, in which Paddle's threads were once seen to crash after all had been done
    script.write_text(f"{program}\nimport os\nos._exit(0)\n", encoding="utf-8")
    launcher = [sys.executable, "-m", "paddle.distributed.launch", "--log_dir", str(folder / "log")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(MAIN.parents[1])}
    return subprocess.run(
        [*launcher, "--nproc_per_node", "2", str(script)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_two_ranks_average_many_buckets_while_backward_goes_on(tmp_path):
    result = _run_ranks(tmp_path, RANK)
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.reliability
def test_a_rank_may_come_later_than_gloo_waits(tmp_path, bar):
    seconds = 45 if bar.full else 32
    result = _run_ranks(tmp_path, LATE.replace("SECONDS", str(seconds)))
    bar.report("D2 slow rank", f"others wait for {seconds} s", f"exit code {result.returncode}")
    assert result.returncode == 0, result.stdout[-3000:]
