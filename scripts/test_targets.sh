#!/usr/bin/env bash
# test_targets.sh [avx2|scalar]...: builds and runs the tests without the instruction sets that this
# processor may have and others have not: with AVX2 at most, and with Highway's scalar target. oneDNN is
# kept to the same. Both if none is named; build/avx2 and build/scalar. Prints what passed.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- avx2 scalar

# Commas and bars would want quotes on their way to the compiler; the sets are bits, so + will do.
disabled() {
  case $1 in
    avx2) echo HWY_AVX3+HWY_SSSE3 ;;
    scalar) echo HWY_AVX3+HWY_AVX2+HWY_SSE4+HWY_SSSE3 ;;
    *) echo "test_targets.sh: no set '$1'; there are avx2 and scalar" >&2; return 1 ;;
  esac
}
isa() { [ "$1" = avx2 ] && echo AVX2 || echo SSE41; }

for set in "$@"; do disabled "$set" >/dev/null; done
command -v ninja >/dev/null && export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}
command -v ccache >/dev/null && export CMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER:-ccache}
status=0 summary=
for set in "$@"; do
  build=build/$set
  cmake -B "$build" -DCMAKE_BUILD_TYPE=Release -DREIN_INSTALL=OFF \
    -DREIN_DISABLED_TARGETS="$(disabled "$set")" >/dev/null
  cmake --build "$build" -j "$(nproc)"
  verdict=passed
  DNNL_MAX_CPU_ISA=$(isa "$set") ctest --test-dir "$build" -j "$(nproc)" --output-on-failure ||
    { verdict=FAILED; status=1; }
  targets=$("$build/bin/kernels_test" --gtest_filter=Targets.* | sed -n 's/^targets: //p')
  case "$set $targets" in
    "avx2 AVX2 "* | "scalar SCALAR") ;;
    avx2*) grep -qw avx2 /proc/cpuinfo && verdict="FAILED to choose" status=1 ;;
    *) verdict="FAILED to choose" status=1 ;;
  esac
  summary+=$(printf '%-8s %s, with %s' "$set" "$verdict" "$targets")$'\n'
done
printf '\n%s' "$summary"
exit $status
