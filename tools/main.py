"""Train or evaluate: python -u tools/main.py --config-file configs/cddnet_x4.yaml"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, not an installed copy

from ppsr.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
