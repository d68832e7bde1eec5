#!/usr/bin/env bash
# run.sh [--shapes A,B] [--seconds S] [--realtime]: one training step of each shape of `rein bench step` in
# PyTorch, TensorFlow and JAX, and in Rein. Installs them with pip (4 GB) under build/peers; writes
# build/peers/table.md and the table in docs/performance.md (the latter only if all shapes run).
# Takes a quarter of an hour. Needs the release build, python3 with venv, and a package index.
set -eu
cd "$(dirname "$0")/../.."
python=build/peers/bin/python
[ -x build/release/bin/rein ] || { echo "build the program first: scripts/build.sh release"; exit 2; }
[ -x $python ] || python3 -m venv build/peers

# One by one: what the index does not have is left out of the table.
grep -v '^#' bench/peers/requirements.txt | while read -r package; do
  $python -m pip install --quiet --disable-pip-version-check "$package" ||
    echo "run.sh: pip could not install $package"
done

doc=(--doc docs/performance.md)
case " $* " in *" --shapes"*) doc=() ;; esac
exec $python bench/peers/compare.py "${doc[@]}" "$@"
