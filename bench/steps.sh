#!/usr/bin/env bash
# bench/steps.sh [RUNS]: measures every shape of `rein bench step` at 1 and 2 threads, RUNS times (5),
# prints a table, and puts it into docs/performance.md, in the place of the one of the same processor if there
# is one. Takes about five minutes; wants a quiet machine.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-5}
rein=build/release/bin/rein
[ -x "$rein" ] || { echo "bench/steps.sh: no $rein; run scripts/build.sh release first" >&2; exit 1; }

commit=$(git describe --always)
git diff --quiet HEAD -- src include apps || commit+=-dirty
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for ((run = 0; run < runs; run++)); do
  for shape in seed charrnn h512 ptb forecast tiny amp ampb; do
    for threads in 1 2; do "$rein" bench step --shape "$shape" --threads "$threads" --seconds 2 --json; done
  done
done > "$results"

python3 - "$results" "$commit" <<'PY'
import datetime, json, os, re, subprocess, sys

runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs.setdefault(run["shape"], {}).setdefault(run["threads"], []).append(run)

def middle(of):  # of several runs the one in the middle: the time of its fast steps, and their share
    run = sorted(of, key=lambda r: r["share"])[len(of) // 2]
    return 1e3 * run["gflop"] / run["gflops"], run["share"]

lscpu = subprocess.run(["lscpu"], capture_output=True, text=True).stdout
cpu = re.search(r"Model name:\s*(.*)", lscpu)[1] + (" with AMX" if "amx_tile" in lscpu else "")
head = f"`bench/steps.sh`, {cpu}, {len(os.sched_getaffinity(0))} cores;"
lines = [f"{head} {datetime.date.today()}, commit {sys.argv[2]}: fast steps and their share, of {len(runs['seed'][1])} runs the one in the middle:", "",
         "| shape | 1 thread, ms | share | 2 threads, ms | share | peak MB | allocations | first step after, ms |",
         "|---|---|---|---|---|---|---|---|"]
for shape, threads in runs.items():
    one, two = (middle(threads[t]) for t in (1, 2))
    peak = max(r["peak_mb"] for r in threads[1])
    allocations = max(r["allocations"] for t in (1, 2) for r in threads[t])
    start = min(r["start_ms"] for r in threads[1])
    lines.append(f"| {shape} | {one[0]:.3g} | {one[1]:.2f} | {two[0]:.3g} | {two[1]:.2f} | {peak:.0f} | {allocations} | {start:.0f} |")
table = "\n".join(lines)
print(table)
page = open("docs/performance.md").read()
begin, end = "<!-- steps:begin -->\n", "<!-- steps:end -->"
before, rest = page.split(begin)
tables, after = rest.split(end)
tables = [t.strip() for t in re.split(r"(?m)^(?=`bench/steps.sh`)", tables) if t.strip() and not t.startswith(head)]
open("docs/performance.md", "w").write(before + begin + "\n\n".join([*tables, table]) + "\n" + end + after)
PY
