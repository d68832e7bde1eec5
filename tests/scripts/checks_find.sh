#!/usr/bin/env bash
# checks_find.sh: the checkers are checked. Each finds what is planted in a small tree, and is silent
# about the same tree without it.
set -eu
scripts=$(cd "$(dirname "$0")/../../scripts" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

clean_tree() {
  rm -rf "$tree"
  mkdir -p "$tree"/{include/rein/{base,compute,process},src/{base,compute,kernels},examples,docs}
  printf '#pragma once\n#include <vector>\n' >"$tree/include/rein/base/a.h"
  printf '#pragma once\n#include "rein/base/a.h"\n' >"$tree/include/rein/compute/b.h"
  printf '#include <fmt/format.h>\n#include "rein/compute/b.h"\n#include "private.h"\n' >"$tree/src/compute/b.cpp"
  printf '#pragma once\n' >"$tree/src/compute/private.h"
  printf '#include <rein/rein.h>\nint main() {\n  int x = 1;\n  return x;\n}\n' >"$tree/examples/e.cpp"
  printf 'See [the example](examples/e.cpp).\n<!-- from examples/e.cpp -->\n```cpp\nint main() {\n  // ...\n  return x;\n```\n' >"$tree/README.md"
  : >"$tree/CONTRIBUTING.md"
  printf 'Back to the [README](../README.md#top).\n' >"$tree/docs/d.md"
}

# expect CHECK WHAT TEXT: CHECK fails on the tree and says TEXT; without TEXT it passes.
expect() {
  local output status=0
  output=$("$scripts/$1" "$tree" 2>&1) || status=$?
  if [ -n "$3" ] && { [ $status = 0 ] || ! grep -qF "$3" <<<"$output"; }; then
    echo "$1 does not find $2; it said: $output"
    failures=1
  elif [ -z "$3" ] && [ $status != 0 ]; then
    echo "$1 complains of $2: $output"
    failures=1
  fi
  clean_tree
}

clean_tree
expect check_includes.sh "a clean tree" ""
expect check_docs.sh "a clean tree" ""

echo '#include "rein/compute/b.h"' >"$tree/src/base/a.cpp"
expect check_includes.sh "base including compute" "src/base/a.cpp:1: base may not include compute"
echo '#include "rein/compute/b.h"' >>"$tree/include/rein/process/p.h"
expect check_includes.sh "process including compute" "process may not include compute"
echo '#include <fmt/format.h>' >>"$tree/include/rein/base/a.h"
expect check_includes.sh "fmt in a header" "a public header includes fmt/format.h"
echo '#include <Eigen/QR>' >>"$tree/src/compute/b.cpp"
expect check_includes.sh "Eigen outside kernels" "compute may not include Eigen/QR"
echo '#include "compute/private.h"' >>"$tree/examples/e.cpp"
expect check_includes.sh "an example that looks into src" "examples sees only public headers"
echo '#include <vector>' >"$tree/include/rein/base/c.h"
expect check_includes.sh "a header without a guard" "include/rein/base/c.h: a header without #pragma once"
mkdir "$tree/src/misc" && echo >"$tree/src/misc/m.cpp"
expect check_includes.sh "an unknown folder" "folder misc has no row"

sed -i 's/return x/return y/' "$tree/README.md"
expect check_docs.sh "code that is nowhere" "this is not in examples/e.cpp"
sed -i 's/from examples.e.cpp/from examples\/gone.cpp/' "$tree/README.md"
expect check_docs.sh "a source that is gone" "no such file: examples/gone.cpp"
sed -i '/<!--/d' "$tree/README.md"
expect check_docs.sh "code from nowhere" "a C++ block without"
echo '[gone](gone.md)' >>"$tree/docs/d.md"
expect check_docs.sh "a dead link" "docs/d.md:2: a link to nothing: gone.md"

# expect_gate COUNTS STATUS TEXT: so many instructions, where a had 1000 and b 1000 or 500.
expect_gate() {
  local output status=0
  output=$("$scripts/perf_gate.sh" --compare <(printf 'a 1000\nb 1000 500\n') <(printf "$1") 2>&1) || status=$?
  if [ $status != "$2" ] || ! grep -q "$3" <<<"$output"; then
    echo "perf_gate.sh: status $status, not $2 with '$3', of $1; it said: $output"
    failures=1
  fi
}
expect_gate 'a 1029\nb 971\n' 0 "b .* -2.9 % *ok"
expect_gate 'a 1031\nb 1000\n' 1 "a .* +3.1 % *more"
expect_gate 'a 1000\nb 510\n' 0 "b .* 510 .* 500: .* +2.0 % *ok"
expect_gate 'a 1000\nb 600\n' 1 "b .* 500: .* +20.0 % *more"
expect_gate 'a 969\nb 1000\n' 1 "A gain; keep it"
expect_gate 'a 1000\n' 1 "b: in the baseline, but not counted"
expect_gate 'a 1000\nb 1000\nc 1\n' 1 "c: not in the baseline"

[ $failures = 0 ] && echo "the checks find what they should"
exit $failures
