#!/usr/bin/env bash
# Measures what is to be known of a GPU, in at most 9 minutes a call; README.md says what a second
# call adds. Needs torch, numpy, scipy, scikit-image and psutil; PEER names a checkout of the official
# repository. Writes benchmarks/gpu.json; `python benchmarks/tables.py` then fills
# docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONUNBUFFERED=1
PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}" exec python3 benchmarks/gpu.py ${PEER:+--peer "$PEER"} "$@"
