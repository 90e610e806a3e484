"""From a Paddle graph to an ONNX file.

Paddle 3.3 stores some float attributes with 64 bits where paddle2onnx 2.1 reads 32: LeakyReLU slopes and
group-norm epsilons become garbage without a message (https://github.com/PaddlePaddle/Paddle2ONNX/issues/1646).
A copy of the graph with the narrower type is converted instead. paddle2onnx ends the process when it fails,
so it runs in a process of its own: `python -m ppsr.inference.export.onnx_graph GRAPH PARAMETERS OUT.onnx`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from ppsr.errors import ConfigError

OPSET = 17


def missing_packages() -> list[str]:
    """Packages that `convert` needs and that are not installed."""
    return [name for name in ("paddle2onnx", "onnx", "onnxslim") if importlib.util.find_spec(name) is None]


def convert(graph: Path, parameters: Path, target: Path) -> None:
    """Write the ONNX form of a saved Paddle graph.

    Raises:
        ConfigError: an operation has no ONNX form.
    """
    import onnx
    import onnxslim

    with tempfile.TemporaryDirectory(prefix="ppsr-onnx-") as folder:
        narrow = Path(folder, graph.name)
        content = graph.read_bytes()
        if graph.suffix == ".json":
            content = content.replace(b'"0.a_f64"', b'"0.a_f32"')
        narrow.write_bytes(content)
        raw = Path(folder, "raw.onnx")
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(narrow), str(parameters), str(raw)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
        if done.returncode or not raw.is_file():
            said = (done.stdout + done.stderr).strip()[-2000:]
            raise ConfigError(f"paddle2onnx cannot convert {graph}:", *said.splitlines())
        model = onnxslim.slim(onnx.load(str(raw)))
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _main(graph: str, parameters: str, target: str) -> None:
    import inspect

    import paddle2onnx

    # since version 2; its default would install packages by pip
    has_tool = "optimize_tool" in inspect.signature(paddle2onnx.export).parameters
    options = {"optimize_tool": "None"} if has_tool else {}
    paddle2onnx.export(graph, parameters, target, opset_version=OPSET, **options)


if __name__ == "__main__":
    _main(*sys.argv[1:])
