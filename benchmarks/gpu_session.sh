#!/usr/bin/env bash
# One command of at most ten minutes on a machine with a GPU: tests marked gpu, the benchmark, and a training run that
# is saved every epoch and goes on in the next call. Results land in $OUT; call it again with the same RECIPE to go on.
#
#   RECIPE=speedrun benchmarks/gpu_session.sh        the crops must be in carry/Market-1501-v15.09.15
#   TINY=1 OUT=/tmp/gpu benchmarks/gpu_session.sh    a rehearsal on the CPU with a few drawn crops
#
# Packages that the machine lacks travel as wheels in .whl/ (tyro, typeguard, docstring_parser, filelock, safetensors,
# pyarrow, rich); TensorBoard and matplotlib are optional there.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONUNBUFFERED=1 PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}"
: "${OUT:?names the folder for results}" "${RECIPE:=speedrun}" "${PYTHON:=python3}"
data=carry/Market-1501-v15.09.15
flags=(--evaluate-every 10 --compile)
seconds=${SECONDS_FOR_TRAINING:-480}
benchmark=()
if [ -n "${TINY:-}" ]; then
  data=$OUT/people
  $PYTHON -m omnireid synthesize "$data" --identities 8 --cameras 2 --per-camera 3 --height 64
  flags=(--model osnet_x0_25 --epochs 3 --resolutions 32x16@0 --batch-size 8 --warmup-epochs 1 --milestones 2)
  benchmark=(--tiny)
  seconds=60
fi
if [ ! -d "carry/$RECIPE" ]; then
  [ -n "${TINY:-}" ] || $PYTHON -m pytest -q -m gpu -p no:cacheprovider tests
  $PYTHON benchmarks/training_gpu.py "${benchmark[@]}" | tee "$OUT/training_gpu.txt"
else
  mkdir -p "$OUT/run" && cp -r "carry/$RECIPE/." "$OUT/run/"
  flags+=(--resume)
fi
# SIGTERM saves the run whole, wherever it is.
timeout --signal=TERM "$seconds" $PYTHON -m omnireid train "$RECIPE" "${flags[@]}" --data "$data" --output "$OUT/run" \
  --pixel-cache-folder /tmp/stores || echo "stopped before its end: put $OUT/run into carry/$RECIPE and call this again"
