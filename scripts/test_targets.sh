#!/usr/bin/env bash
# test_targets.sh [avx2|scalar]...: the tests of the release build, without the instruction sets that this processor
# may have and others have not: with AVX2 at most, and with Highway's scalar target. oneDNN is kept to the
# same. Both if none is named. Prints what passed.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- avx2 scalar
for set in "$@"; do
  case $set in
    avx2 | scalar) ;;
    *) echo "test_targets.sh: no set '$set'; there are avx2 and scalar" >&2; exit 2 ;;
  esac
done

build=build/release
preload=$PWD/$build/bin/libfewer_targets.so
[ -e "$preload" ] || { echo "test_targets.sh: no $preload; run scripts/test.sh first" >&2; exit 1; }
status=0 summary=
for set in "$@"; do
  [ "$set" = avx2 ] && isa=AVX2 || isa=SSE41
  fewer=(env LD_PRELOAD="$preload" REIN_TEST_TARGETS="$set" DNNL_MAX_CPU_ISA="$isa")
  verdict=passed
  # Those of the text of the repository and of the installation run no kernel.
  "${fewer[@]}" ctest --test-dir "$build" -j "$(nproc)" --output-on-failure -E '^(check|install)' ||
    { verdict=FAILED; status=1; }
  targets=$("${fewer[@]}" "$build/bin/kernels_test" --gtest_filter=Targets.* | sed -n 's/^targets: //p')
  case "$set $targets" in
    "avx2 AVX2 "* | "scalar SCALAR") ;;
    avx2*) grep -qw avx2 /proc/cpuinfo && verdict="FAILED to choose" status=1 ;;
    *) verdict="FAILED to choose" status=1 ;;
  esac
  summary+=$(printf '%-8s %s, with %s' "$set" "$verdict" "$targets")$'\n'
done
printf '\n%s' "$summary"
exit $status
