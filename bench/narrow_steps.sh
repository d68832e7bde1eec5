#!/usr/bin/env bash
# bench/narrow_steps.sh [RUNS]: the wide shapes of `rein bench step` in each precision at 1 and 2 threads, RUNS times (3);
# prints a table and puts it into docs/precision.md. Needs a processor with AMX, and wants a quiet machine:
# run it under `chrt -f 1`. Takes three minutes.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-3}
rein=build/release/bin/rein
[ -x "$rein" ] || { echo "bench/narrow_steps.sh: no $rein; run scripts/build.sh release first" >&2; exit 1; }

commit=$(git describe --always)
git diff --quiet HEAD -- src include apps || commit+=-dirty
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for ((run = 0; run < runs; run++)); do
  for shape in seed charrnn h512 ptb; do
    for precision in f32 bf16 bf16x3; do
      for threads in 1 2; do
        "$rein" bench step --shape "$shape" --precision "$precision" --threads "$threads" --seconds 2 --json
      done
    done
  done
done > "$results"

python3 - "$results" "$commit" <<'PY'
import datetime, json, re, subprocess, sys

runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs.setdefault(run["shape"], {}).setdefault((run["precision"], run["threads"]), []).append(run)

def middle(of):  # of several runs the one in the middle: the time of its fast steps, and their share
    run = sorted(of, key=lambda r: r["share"])[len(of) // 2]
    return 1e3 * run["gflop"] / run["gflops"], run["share"]

lscpu = subprocess.run(["lscpu"], capture_output=True, text=True).stdout
cpu = re.search(r"Model name:\s*(.*)", lscpu)[1] + (" with AMX" if "amx_tile" in lscpu else "")
count = len(runs["seed"]["f32", 1])
lines = [f"`bench/narrow_steps.sh`, {cpu}, {datetime.date.today()}, commit {sys.argv[2]}; of {count} runs the one in the middle:", "",
         "| shape | f32, ms on 1 / 2 threads | share | bf16 | share | 2 threads to 1 | bf16x3 | share | 2 threads to 1 |",
         "|---|---|---|---|---|---|---|---|---|"]
for shape, of in runs.items():
    columns = []
    for precision in ("f32", "bf16", "bf16x3"):
        (one, share_one), (two, share_two) = (middle(of[precision, t]) for t in (1, 2))
        columns.append(f"{one:.3g} / {two:.3g} | {share_one:.2f} / {share_two:.2f}")
        if precision != "f32":
            columns.append(f"{one / two:.2f}")
    lines.append(f"| {shape} | {' | '.join(columns)} |")
table = "\n".join(lines)
print(table)
page = open("docs/precision.md").read()
begin, end = "<!-- steps:begin -->\n", "<!-- steps:end -->"
before, rest = page.split(begin)
open("docs/precision.md", "w").write(before + begin + table + "\n" + end + rest.split(end)[1])
PY
