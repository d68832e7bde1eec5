#!/usr/bin/env bash
# sanitize.sh [asan|tsan]... [-- CMAKE ARGUMENT...]: builds and runs tests under the address and undefined
# behaviour sanitizers (asan, by clang) and the thread sanitizer (tsan, by g++); both if none is named.
#
# asan runs all that tests/CMakeLists.txt builds for it. tsan runs what uses threads, from the team and
# the kernels to whole steps: nn and golden compose ops that the battery runs on several threads, io and
# the program start none.
set -eu
cd "$(dirname "$0")/.."
presets=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do presets+=("$1"); shift; done
[ $# -eq 0 ] || shift
[ ${#presets[@]} -gt 0 ] || presets=(asan tsan)
for preset in "${presets[@]}"; do
  targets=() tests=()
  if [ "$preset" = tsan ]; then
    folders=(base dist tensor kernels ops compute process apply train)
    targets=(-- "${folders[@]/%/_test}")
    tests=(-R "^($(IFS='|'; echo "${folders[*]}"))\$")
  fi
  scripts/build.sh "$preset" "$@" "${targets[@]}"
  ctest --preset "$preset" -j "$(nproc)" "${tests[@]}"
done
