#!/usr/bin/env bash
# build.sh PRESET [CMAKE ARGUMENT...] [-- TARGET...]: configures build/PRESET and builds it on all
# cores, with Ninja and ccache where they are there.
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
arguments=() targets=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do arguments+=("$1"); shift; done
[ $# -eq 0 ] || { shift; targets=(--target "$@"); }

command -v ninja >/dev/null && export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}
command -v ccache >/dev/null && export CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER:-ccache}
cmake --preset "$preset" "${arguments[@]}"
cmake --build "build/$preset" -j "$(nproc)" "${targets[@]}"
