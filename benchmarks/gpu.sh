#!/usr/bin/env bash
# All that is to be measured on a machine with a GPU, in one call: speed beside the official loop and
# the same bytes twice, packing, the share of the roofline, and whether bf16 gives fp32's results.
# Needs torch, numpy, scikit-image and scipy; PEER names a checkout of the official repository.
# Writes benchmarks/*-gpu.json; `python benchmarks/tables.py` then fills docs/performance.md.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=.
failed=0
python benchmarks/trainer.py --device cuda ${PEER:+--peer "$PEER"} --profile || failed=1
python benchmarks/roofline.py --device cuda || failed=1
python benchmarks/packing.py --device cuda --blocks 3 || failed=1
python benchmarks/precision.py --device cuda --path bf16 --size 128 --width 128 --scales 5 \
  --iterations 1500 --seeds 0 1 --output benchmarks/precision-gpu.json || failed=1
exit "$failed"
