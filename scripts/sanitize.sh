#!/usr/bin/env bash
# sanitize.sh [asan|tsan]... [-- CMAKE ARGUMENT...]: builds and runs the tests under the address and
# undefined behaviour sanitizers (asan) and the thread sanitizer (tsan); both if none is named. g++ 12
# takes what the sanitizers insert for uses of uninitialised memory: their presets leave that warning out.
set -eu
cd "$(dirname "$0")/.."
presets=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do presets+=("$1"); shift; done
[ $# -eq 0 ] || shift
[ ${#presets[@]} -gt 0 ] || presets=(asan tsan)
for preset in "${presets[@]}"; do
  scripts/build.sh "$preset" "$@"
  ctest --preset "$preset" -j "$(nproc)"
done
