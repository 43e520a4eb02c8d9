#!/usr/bin/env bash
# All that is to be measured on a machine with a GPU, in one call of at most 9 minutes. Needs torch,
# numpy, scipy, scikit-image and psutil; PEER names a checkout of the official repository. Writes
# benchmarks/gpu.json; `python benchmarks/tables.py` then fills docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONUNBUFFERED=1
PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}" exec python3 benchmarks/gpu.py ${PEER:+--peer "$PEER"} "$@"
