#!/usr/bin/env bash
# footprint.sh: what the library costs those who use it. Prints how long a 20-line program that
# includes <rein/rein.h> takes to compile, and the size of the stripped shared library; fails above
# 4 MB, and above 5 times what the standard headers that it includes take on the same machine (3 seconds
# where those take 0.6). Wants the release build (scripts/build.sh release).
set -eu
cd "$(dirname "$0")/.."
program=tests/install/consumer/main.cpp
library=build/release/librein.so
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

compile() { g++ -O2 -std=c++20 -Iinclude "$1" -o "$out/program" -Lbuild/release -lrein; }
ms() {  # of processor time: what else the machine does is not the library's fault
  TIMEFORMAT='%U %S'
  { time compile "$1"; } 2>"$out/time"
  tail -1 "$out/time" | awk '{ printf "%d", 1000 * ($1 + $2) }'
}
less() { [ -n "$1" ] && [ "$1" -le "$2" ] && echo "$1" || echo "$2"; }

g++ -std=c++20 -Iinclude -M $program | grep -oE 'c\+\+/[0-9.]+/[a-z_]+( |$)' | sed -E 's|.*/(\w+) ?|#include <\1>|' |
  sort -u >"$out/standard.cpp"
echo 'int main() {}' >>"$out/standard.cpp"

best= standard=
for _ in 1 2 3 4 5; do  # in turns: processors change their speed
  best=$(less "$best" "$(ms $program)")
  standard=$(less "$standard" "$(ms "$out/standard.cpp")")
done
strip -o "$out/librein.so" "$library"
bytes=$(stat -c %s "$out/librein.so")

status=0
check() {
  local verdict=ok
  [ "$2" -lt "$3" ] || { verdict="too much"; status=1; }
  printf '%-58s %8d %-5s (limit %d) %s\n' "$1" "$2" "$4" "$3" "$verdict"
}
check "compile and link $program, g++ -O2" "$best" $((5 * standard)) ms
check "librein.so, stripped" "$((bytes / 1024))" 4096 KB
exit $status
