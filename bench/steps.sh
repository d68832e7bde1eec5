#!/usr/bin/env bash
# bench/steps.sh [RUNS]: measures every shape of `rein bench step` at 1 and 2 threads, RUNS times (5),
# prints a table, and puts it into docs/performance.md, in the place of the one of the same processor if there
# is one. Takes about five minutes; wants a quiet machine.
set -eu
. "$(dirname "$0")/common.sh"
runs=${1:-5}

for ((run = 0; run < runs; run++)); do
  for shape in seed charrnn h512 ptb forecast tiny amp ampb; do
    for threads in 1 2; do "$rein" bench step --shape "$shape" --threads "$threads" --seconds 2 --json; done
  done
done > "$results"

python3 - "$results" "$commit" <<'PY'
import os, sys
import tables

runs = {}
for run in tables.read(sys.argv[1]):
    runs.setdefault(run["shape"], {}).setdefault(run["threads"], []).append(run)

head = f"`bench/steps.sh`, {tables.machine()}, {len(os.sched_getaffinity(0))} cores;"
lines = [f"{head} {tables.made(sys.argv[2])}: fast steps and their share, of {len(runs['seed'][1])} runs the one in the middle:", "",
         "| shape | 1 thread, ms | share | 2 threads, ms | share | peak MB | allocations | first step after, ms |",
         "|---|---|---|---|---|---|---|---|"]
for shape, threads in runs.items():
    one, two = (tables.middle(threads[t]) for t in (1, 2))
    peak = max(r["peak_mb"] for r in threads[1])
    allocations = max(r["allocations"] for t in (1, 2) for r in threads[t])
    start = min(r["start_ms"] for r in threads[1])
    lines.append(f"| {shape} | {one[0]:.3g} | {one[1]:.2f} | {two[0]:.3g} | {two[1]:.2f} | {peak:.0f} | {allocations} | {start:.0f} |")
table = "\n".join(lines)
print(table)

tables.put_beside_others("docs/performance.md", "steps", head, table)
PY
