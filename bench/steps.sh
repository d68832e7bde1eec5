#!/usr/bin/env bash
# bench/steps.sh [RUNS]: measures every shape of `rein bench step` at 1 and 2 threads, RUNS times (5),
# prints a table, and puts it into docs/performance.md. Takes about five minutes; wants a quiet machine.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-5}
rein=build/release/bin/rein
[ -x "$rein" ] || { echo "bench/steps.sh: no $rein; run scripts/build.sh release first" >&2; exit 1; }

results=$(mktemp)
trap 'rm -f "$results"' EXIT
for ((run = 0; run < runs; run++)); do
  for shape in seed charrnn h512 ptb forecast tiny amp ampb; do
    for threads in 1 2; do "$rein" bench step --shape "$shape" --threads "$threads" --seconds 2 --json; done
  done
done > "$results"

python3 - "$results" <<'PY'
import json, re, statistics, subprocess, sys

runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs.setdefault(run["shape"], {}).setdefault(run["threads"], []).append(run)

def best(of, key):  # the fastest step, and the median of the runs' bests as the share
    return min(r["ms_min"] for r in of), statistics.median(r[key] for r in of)

cpu = re.search(r"Model name:\s*(.*)", subprocess.run(["lscpu"], capture_output=True, text=True).stdout)[1]
lines = [f"`bench/steps.sh`, {cpu}, 2 cores; the fastest step, and the median of the shares of {len(runs['seed'][1])} runs:", "",
         "| shape | 1 thread, ms | share | 2 threads, ms | share | peak MB | allocations | first step after, ms |",
         "|---|---|---|---|---|---|---|---|"]
for shape, threads in runs.items():
    one, two = (best(threads[t], "share") for t in (1, 2))
    peak = max(r["peak_mb"] for r in threads[1])
    allocations = max(r["allocations"] for t in (1, 2) for r in threads[t])
    start = min(r["start_ms"] for r in threads[1])
    lines.append(f"| {shape} | {one[0]:.3g} | {one[1]:.2f} | {two[0]:.3g} | {two[1]:.2f} | {peak:.0f} | {allocations} | {start:.0f} |")
table = "\n".join(lines)
print(table)
page = open("docs/performance.md").read()
page = re.sub(r"(<!-- steps:begin -->\n).*?(<!-- steps:end -->)", lambda m: m[1] + table + "\n" + m[2], page, flags=re.S)
open("docs/performance.md", "w").write(page)
PY
