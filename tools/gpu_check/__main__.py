"""Checks ppsr on a GPU: parity, training with resume, two ranks, export, upscaling. See docs/gpu.md.

    python tools/gpu_check [--cpu] [--minutes 10] [--output gpu_check]

Writes a Markdown table and a JSON file to paste into a report. With `--cpu` every part runs with tiny sizes
on the CPU, so that the script itself is tested where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, not an installed copy

from parts import PARTS, check_machine
from record import Check, report


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when nothing failed, 1 when something did, 2 without a GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cpu", action="store_true", help="tiny sizes on the CPU: tests the script, not a GPU"
    )
    parser.add_argument("--minutes", type=float, default=10, help="after which no further case begins")
    parser.add_argument("--only", choices=PARTS, action="append", help="may be repeated; default: all parts")
    parser.add_argument(
        "--output", type=Path, default=Path("gpu_check"), help="path of the reports without suffix"
    )
    options = parser.parse_args(argv)
    import paddle

    if not options.cpu and not (paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count()):
        print(
            "error: this Paddle finds no GPU; install paddlepaddle-gpu, or test the script with --cpu",
            file=sys.stderr,
        )
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ppsr-gpu-check-") as folder:
        check = Check(options.cpu, started + 60 * options.minutes, Path(folder))
        about = check_machine(check)
        for name in options.only or PARTS:
            try:
                PARTS[name](check)
            except Exception as error:  # one broken part must not hide the others' results
                check.add(
                    name,
                    "whole part",
                    False,
                    note=f"{type(error).__name__}: {str(error).splitlines()[0][:160]}",
                )
    seconds = time.monotonic() - started
    table = report(check, about, seconds)
    options.output.with_suffix(".md").write_text(table, encoding="utf-8")
    record = {"about": about, "seconds": round(seconds, 1), "rows": [asdict(row) for row in check.rows]}
    options.output.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    failed = sum(row.verdict == "FAIL" for row in check.rows)
    print(f"{len(check.rows)} cases, {failed} failed; {options.output}.md and {options.output}.json")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
