#!/usr/bin/env bash
# bench/optimizers.sh [SECONDS]: every clip with Adam and every rule with the global norm, 20 M parameters, 1 and
# 2 threads, SECONDS (1) each; prints a table and puts it into docs/performance.md, in the place of the one of the
# same processor if there is one. Run it under `chrt -f 1` on a machine that is shared.
set -eu
. "$(dirname "$0")/common.sh"
seconds=${1:-1}

clips=(none value:5 value:1e-4 norm:5 norm:1e-3 average:5 rms:5 global:5 max_change:5 agc:5 autoclip:50
  zclip:2.5 adaptive:2 adagc:1.05 spikes:5000)
rules=(adamw amsgrad adamax nadam radam sgd momentum rmsprop adagrad adadelta ftrl lion rprop lamb lars adafactor
  muon schedule_free)

measure() {
  for threads in 1 2; do
    "$rein" bench optimizer --clip "$1" --rule "$2" --params 20000000 --threads "$threads" --seconds "$seconds" --json
  done
}
{
  measure global:5 adam
  for clip in "${clips[@]}"; do [ "$clip" = global:5 ] || measure "$clip" adam; done
  for rule in "${rules[@]}"; do measure global:5 "$rule"; done
} > "$results"

python3 - "$results" "$commit" <<'PY'
import sys
import tables

runs = {}
for run in tables.read(sys.argv[1]):
    runs.setdefault((run["clip"], run["rule"]), {})[run["threads"]] = run

least = runs["global:5", "adam"]
head = f"`bench/optimizers.sh`, {tables.machine()},"
lines = [f"{head} {tables.made(sys.argv[2])}; the fastest step:", "",
         "| clip | rule | bytes a parameter | 1 thread, ms | to the first | share | 2 threads, ms | to the first | share |",
         "|---|---|---|---|---|---|---|---|---|"]
for (clip, rule), threads in runs.items():
    one, two = threads[1], threads[2]
    columns = [f"{clip} | {rule} | {one['bytes'] / one['parameters']:.0f}"]
    for t, run in threads.items():
        columns.append(f"{run['ms_min']:.1f} | {run['ms_min'] / least[t]['ms_min']:.2f} | {run['share']:.2f}")
    lines.append(f"| {' | '.join(columns)} |")
table = "\n".join(lines)
print(table)
tables.put_beside_others("docs/performance.md", "optimizers", head, table)
PY
