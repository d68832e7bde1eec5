#!/usr/bin/env bash
# test.sh [CMAKE ARGUMENT...]: from a fresh clone to tested. Installs what is missing, builds
# everything, runs all tests.
set -eu
cd "$(dirname "$0")/.."
scripts/deps.sh test
scripts/build.sh release -DBUILD_TESTING=ON "$@"
exec ctest --preset release -j "$(nproc)"
