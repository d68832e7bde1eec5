#!/usr/bin/env bash
# bench/narrow_steps.sh [RUNS]: the wide shapes of `rein bench step` in each precision at 1 and 2 threads, RUNS times (3);
# prints a table and puts it into docs/precision.md. Needs a processor with AMX, and wants a quiet machine:
# run it under `chrt -f 1`. Takes three minutes.
set -eu
. "$(dirname "$0")/common.sh"
runs=${1:-3}

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
import sys
import tables

runs = {}
for run in tables.read(sys.argv[1]):
    runs.setdefault(run["shape"], {}).setdefault((run["precision"], run["threads"]), []).append(run)

count = len(runs["seed"]["f32", 1])
lines = [f"`bench/narrow_steps.sh`, {tables.machine()}, {tables.made(sys.argv[2])}; of {count} runs the one in the middle:", "",
         "| shape | f32, ms on 1 / 2 threads | share | bf16 | share | 2 threads to 1 | bf16x3 | share | 2 threads to 1 |",
         "|---|---|---|---|---|---|---|---|---|"]
for shape, of in runs.items():
    columns = []
    for precision in ("f32", "bf16", "bf16x3"):
        (one, share_one), (two, share_two) = (tables.middle(of[precision, t]) for t in (1, 2))
        columns.append(f"{one:.3g} / {two:.3g} | {share_one:.2f} / {share_two:.2f}")
        if precision != "f32":
            columns.append(f"{one / two:.2f}")
    lines.append(f"| {shape} | {' | '.join(columns)} |")
table = "\n".join(lines)
print(table)
tables.put("docs/precision.md", "steps", lambda old: table)
PY
