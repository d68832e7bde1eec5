#!/usr/bin/env bash
# demo.sh [rein train OPTION...]: from a fresh clone to a trained network. Installs what is missing,
# builds the library and the program, and trains an LSTM on Fashion-MNIST with its gradients clipped by
# their global norm.
set -eu
cd "$(dirname "$0")/.."
scripts/deps.sh build
scripts/build.sh release -DBUILD_TESTING=OFF
exec build/release/bin/rein train "$@"
