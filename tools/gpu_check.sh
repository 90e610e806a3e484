#!/usr/bin/env bash
# Checks ppsr on the GPU of this machine in at most 10 minutes; installs nothing. See docs/gpu.md.
#   bash tools/gpu_check.sh            the check; writes gpu_check.md and gpu_check.json
#   bash tools/gpu_check.sh --cpu      the same script with tiny sizes on the CPU, as the tests run it
exec "${PYTHON:-python}" -u "$(dirname "$0")/gpu_check" "$@"
