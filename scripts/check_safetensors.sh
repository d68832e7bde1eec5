#!/usr/bin/env bash
# check_safetensors.sh [RUN [IMAGES]]: whether Python reads the weights of a run, and NumPy computes
# the same logits from them (tests/peers/numpy_forward.py). Without a run it trains a short one. Needs
# the built program, python3 with venv, and a package index for pip.
set -eu
cd "$(dirname "$0")/.."
rein=build/release/bin/rein
python=build/peers/bin/python
images=${2:-/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz}

[ -x $rein ] || { echo "build the program first: scripts/build.sh release"; exit 2; }
[ -x $python ] || python3 -m venv build/peers
$python -m pip install --quiet --disable-pip-version-check numpy safetensors

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run=${1:-$folder/run}
[ $# -gt 0 ] || $rein train --limit 12800 --epochs 2 --out "$run"
$rein predict "$run" "$images" --json --logits >"$folder/predictions"
$python tests/peers/numpy_forward.py "$run" "$images" "$folder/predictions"
