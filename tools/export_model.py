"""Export: python -u tools/export_model.py -c configs/cddnet_x4.yaml --load WEIGHTS"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, not an installed copy

from ppsr.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
