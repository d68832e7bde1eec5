#!/usr/bin/env bash
# perf_gate.sh [--accept]: counts the instructions of the workloads in bench/gate_workloads.cpp with
# callgrind and compares them with bench/gate_baseline.txt. Fails where one differs by more than 3 %: more
# is a loss; less is a gain, to be kept. --accept writes the counts that hold from now on.
#
# Counts repeat to the instruction where times do not: valgrind shows a program a processor with AVX2 but
# not AVX-512 and with caches of one size, and nearly all that choose by the processor (Highway, oneDNN,
# the C library) choose by that. Its maker is not promised, and memory is asked for early on Intel alone
# (src/kernels/prefetch.h): a workload whose counts differ by that has both in the baseline. --accept
# replaces the nearer one; the other comes from a build where prefetch_pays() says the opposite.
# What the C library does for an allocation depends on all that came before; so freed blocks stay in its
# cache, where taking one costs the same always: of 4 heaps that were used before in different ways the
# tape then counts within 0.6 %.
# Compilers and libraries other than those of Debian 12 give other counts. What counts do not show is for
# `rein bench`: caches, threads, AVX-512 (the same source, compiled for wider vectors).
#
# Wants the release build (scripts/build.sh release) and valgrind. `--compare BASELINE COUNTS` is its
# second half alone, for tests/scripts/checks_find.sh.
set -eu
program=build/release/bin/gate_workloads
baseline=bench/gate_baseline.txt

compare() {
  awk -v limit=3 '
  NR == FNR {
    for (i = 2; i <= NF; i++) {  # where there are several, the nearest one counts
      want[$1, i - 1] = $i
      several[$1] = i - 1
    }
    next
  }
  !($1 in several) { print $1 ": not in the baseline"; bad = 1; next }
  {
    best = 0
    for (i = 1; i <= several[$1]; i++) {
      percent = 100 * ($2 / want[$1, i] - 1)
      if (!best || percent ^ 2 < change ^ 2) { best = i; change = percent }
    }
    verdict = change > limit ? "more" : change < -limit ? "fewer" : "ok"
    printf "%-24s %10d instructions, baseline %10d: %+6.1f %%  %s\n", $1, $2, want[$1, best], change, verdict
    if (verdict == "more") bad = 1
    if (verdict == "fewer") gain = 1
    delete several[$1]
  }
  END {
    for (name in several) { print name ": in the baseline, but not counted"; bad = 1 }
    if (bad) print "If it has to be so: scripts/perf_gate.sh --accept, and say why in the commit."
    else if (gain) print "A gain; keep it: scripts/perf_gate.sh --accept"
    exit bad || gain
  }' "$@"
}

count() {  # of the workload $1, into the folder $2
  GLIBC_TUNABLES=glibc.malloc.tcache_count=60000 \
    valgrind --tool=callgrind --toggle-collect=rein_measured --callgrind-out-file=/dev/null \
    --log-file="$2/$1.log" $program "$1" || cat "$2/$1.log"
  awk -v name="$1" '/Collected :/ { print name, $NF }' "$2/$1.log" >"$2/$1"
}

case ${1:-} in
  --compare) compare "$2" "$3"; exit ;;
  '' | --accept) ;;
  *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac

cd "$(dirname "$0")/.."
[ -x $program ] || { echo "perf_gate.sh: build it first: scripts/build.sh release"; exit 2; }
command -v valgrind >/dev/null || { echo "perf_gate.sh: no valgrind: scripts/deps.sh ci"; exit 2; }
if ! grep -qw avx2 /proc/cpuinfo; then
  echo "perf_gate.sh: not compared: the baseline is of AVX2, which this processor does not have"
  exit 0
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export -f count
export program
$program | xargs -P "$(nproc)" -I{} bash -c 'count {} "$0"' "$out"
for name in $($program); do cat "$out/$name"; done >"$out/counts"

if [ "${1:-}" = --accept ]; then
  awk '
  NR == FNR { for (i = 2; i <= NF; i++) other[$1] = other[$1] " " $i; next }
  {
    count = split(other[$1], was, " ")
    nearest = 1
    for (i = 2; i <= count; i++) if ((was[i] - $2) ^ 2 < (was[nearest] - $2) ^ 2) nearest = i
    was[nearest] = $2
    line = $1
    for (i = 1; i <= (count ? count : 1); i++) line = line " " was[i]
    print line
  }' $baseline "$out/counts" >"$out/accepted"
  cp "$out/accepted" $baseline
  cat $baseline
else
  compare $baseline "$out/counts"
fi
