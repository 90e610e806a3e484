"""Run commands, a JSON list on standard input, one after the other; the first that fails ends it.

`ppsr ...` and `python tools/main.py ...` run in a fork of this process, which has imported Paddle already;
everything that needs a shell or another program runs in bash.
"""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys

_SHELL = re.compile(r"[;&|<>$*?`!~\n]|^\w+=")


def main() -> int:
    """Run all; returns the exit code of the first that failed, or 0."""
    commands = json.load(sys.stdin)
    if any(_plain(command) for command in commands):
        import paddle  # noqa: F401  # the forks have it then
    for command in commands:
        words = _plain(command)
        code = _forked(words) if words else subprocess.run(_bash(command), check=False).returncode
        if code:
            print(f"exit code {code}: {command}", file=sys.stderr)
            return code
    return 0


def _bash(command: str) -> list[str]:
    return ["bash", "-euo", "pipefail", "-c", command]


def _plain(command: str) -> list[str]:
    """The words of a command of this project that needs no shell; of others none."""
    if _SHELL.search(command):
        return []
    words = shlex.split(command)
    if words[0] == "ppsr":
        return words
    words = [word for word in words if word != "-u"]
    return words if words[:2] == ["python", "tools/main.py"] else []


def _forked(words: list[str]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code: object = 0
    try:
        if words[0] == "ppsr":
            from ppsr.cli import main as ppsr

            sys.argv = words
            ppsr()
        else:
            sys.argv = words[1:]
            runpy.run_path(words[1], run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException as error:  # a fork must not return into the loop above
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    sys.exit(main())
