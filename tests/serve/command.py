"""`ppsr serve` in a process of its own, with a folder of its own for temporary files."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import paddle

from tests.inference.helpers import small_network

ROOT = Path(__file__).parents[2]


class Command:
    """Models `small` (a SRVGGNetCompact) and `other` (a MSRResNet), the catalogue, and the options given."""

    def __init__(self, folder, *options):
        self.nets = {"small": small_network("SRVGGNetCompact"), "other": small_network("MSRResNet")}
        command = [sys.executable, "-m", "ppsr", "serve", "--port", "0"]
        for name, net in self.nets.items():
            paddle.save(net.state_dict(), str(folder / f"{name}.pdparams"))
            command += ["--load", f"{name}={folder / name}.pdparams"]
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary), "PPSR_HOME": str(folder / "home")}
        self.log = folder / "log.txt"
        with self.log.open("w") as log:
            more = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": log, "text": True}
            self.process = subprocess.Popen([*command, *options], env=os.environ | own, **more)
        self.announced = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.announced)
        if found is None:
            self.end()
            raise AssertionError(f"no address in {self.announced!r}; {self.log.read_text()}")
        self.url, self.port = found[0], int(found[1])

    def end(self, number=signal.SIGTERM):
        """Ask it to end by a signal; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process.stdout.close()
        return code
