"""What is particular to OpenVINO."""

import subprocess
import sys

import numpy as np
import pytest

from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export import onnx_graph

pytest.importorskip("openvino", reason="needs the extra 'openvino'")
pytestmark = pytest.mark.skipif(bool(onnx_graph.missing_packages()), reason="the extra onnx is not installed")

SIGNALLED = """
import faulthandler, os, signal, sys
faulthandler.enable()  # with a stack of its own for the handlers of signals
from ppsr.inference.backends.select import open_backend
from ppsr.inference.backends.exported import BackendOptions
backends = [open_backend(sys.argv[1], "openvino", BackendOptions(threads=1)) for _ in range(2)]
while backends:
    backends.pop(0)
signal.signal(signal.SIGUSR2, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR2)
"""


@pytest.mark.slow
def test_result_that_openvino_left_from_the_call_before_is_no_result(exported, monkeypatch):
    """Short of memory it may end without an exception, and hand out its old result, of the same shape
    even."""
    backend = open_backend(exported, "openvino", BackendOptions(threads=1))
    x = np.full((1, 3, 5, 6), 0.5, np.float32)
    before = backend.run(x)

    class Silent:
        def infer(self, inputs):
            return {backend._output: backend._result}

    for other in (x, x[..., :4]):
        with monkeypatch.context() as patch:
            patch.setattr(backend, "_request", Silent())
            with pytest.raises(MemoryError, match="left a result of shape"):
                backend.run(other)
        np.testing.assert_allclose(backend.run(x), before, atol=1e-6)


@pytest.mark.slow
def test_signals_are_handled_after_several_openvino_backends(exported):
    command = [sys.executable, "-c", SIGNALLED, str(exported)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["handled"]), done.stderr[-2000:]
