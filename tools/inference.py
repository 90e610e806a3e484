"""Run an export on a config's test set: python -u tools/inference.py -c CONFIG --model_path PREFIX"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, not an installed copy

from ppsr.cli.infer import main

if __name__ == "__main__":
    sys.exit(main())
