#!/usr/bin/env bash
# bench/precision.sh [FOLDER]: trains in f32, bf16 and bf16x3 to the same place, three seeds each: images
# of Fashion-MNIST, and the characters of a text of 4 MB (Debian's bible-kjv-text, fetched by apt-get). Puts
# a table into docs/precision.md and the curves into docs/precision.svg. Runs that are in FOLDER
# (build/precision) are not made again. Takes a quarter of an hour of one core with AMX.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/precision}
bin=$PWD/build/release/bin
[ -x "$bin/characters" ] || { echo "bench/precision.sh: no $bin/characters; run scripts/build.sh release first" >&2; exit 1; }
mkdir -p "$folder"

if [ ! -s "$folder/text" ]; then
  (cd "$folder" && apt-get download bible-kjv bible-kjv-text && for p in *.deb; do dpkg -x "$p" bible; done)
  # A line is a verse after its place.
  echo gen1:1-rev22:21 | "$folder/bible/usr/bin/bible" -f -p "$folder/bible/usr/lib" |
    sed -n 's/^[A-Z0-9][A-Za-z0-9]*:[0-9]* //p' > "$folder/text"
fi
for seed in 1 2 3; do
  for precision in f32 bf16 bf16x3; do
    run=$folder/images-$precision-$seed
    if [ ! -e "$run" ]; then
      "$bin/rein" train --precision $precision --seed $seed --schedule cosine --epochs 10 --threads 1 --out "$run.part" --force
      mv "$run.part" "$run"
    fi
    run=$folder/text-$precision-$seed
    if [ ! -e "$run" ]; then
      "$bin/characters" "$folder/text" $precision $seed | tee "$run.part"
      mv "$run.part" "$run"
    fi
  done
done

python3 - "$folder" <<'PY'
import json, os, re, subprocess, sys

folder = sys.argv[1]
precisions, seeds = ["f32", "bf16", "bf16x3"], [1, 2, 3]

def curve(path, x, y, scale):
    return [(line[x], line[y] * scale) for line in map(json.loads, open(f"{folder}/{path}"))]

def curves(path, *keys):
    return {p: [curve(path.format(p, s), *keys) for s in seeds] for p in precisions}

images = curves("images-{}-{}/metrics.jsonl", "epoch", "test_accuracy", 100)
text = curves("text-{}-{}", "step", "bits", 1)

def mean(runs):
    return [(points[0][0], sum(y for _, y in points) / len(points)) for points in zip(*runs)]

# ---------------------------------------------------------------- table

def rows(name, of, digits):
    last = {p: [run[-1][1] for run in of[p]] for p in precisions}
    def row(what, numbers):
        return f"| {what} | " + " | ".join(numbers) + " |"
    for i, seed in enumerate(seeds):
        yield row(f"{name}, seed {seed}", [f"{last[p][i]:.{digits}f}" for p in precisions])
    means = {p: mean(of[p])[-1][1] for p in precisions}
    yield row("mean", [f"{means[p]:.{digits}f}" for p in precisions])
    spread = max(last["f32"]) - min(last["f32"])
    yield row("mean less that of f32", [f"(seeds differ by {spread:.{digits}f})"]
              + [f"{means[p] - means['f32']:+.{digits}f}" for p in precisions[1:]])

lscpu = subprocess.run(["lscpu"], capture_output=True, text=True).stdout
cpu = re.search(r"Model name:\s*(.*)", lscpu)[1] + (" with AMX" if "amx_tile" in lscpu else "")
size = os.path.getsize(f"{folder}/text") / 1e6
table = "\n".join([
    f"`bench/precision.sh`, {cpu}; the text has {size:.1f} MB, {text['f32'][0][-1][0]} steps of 2048 characters:", "",
    "| | f32 | bf16 | bf16x3 |", "|---|---|---|---|",
    *rows("Fashion-MNIST, test accuracy in %", images, 2), *rows("text, bits per character", text, 4), "",
    "![Accuracy and bits per character while training, in three precisions: the curves lie on one another](precision.svg)"])
print(table)
page = open("docs/precision.md").read()
begin, end = "<!-- training:begin -->\n", "<!-- training:end -->"
before, rest = page.split(begin)
open("docs/precision.md", "w").write(before + begin + table + "\n" + end + rest.split(end)[1])

# ---------------------------------------------------------------- curves

GREY = "#808080"  # can be read on white and on black
LOOK = {"f32": 'stroke="#808080" stroke-opacity="0.5" stroke-width="6"',
        "bf16": 'stroke="#3b82f6" stroke-width="1.8"',
        "bf16x3": 'stroke="#d97706" stroke-width="1.8" stroke-dasharray="5 4"'}
TOP, BOTTOM, WIDTH = 40, 240, 280

def panel(left, title, x_name, of, marks, ticks):
    low, high = marks[0], marks[-1]
    longest = of["f32"][0][-1][0]
    at_x = lambda x: left + WIDTH * x / longest
    at_y = lambda y: min(BOTTOM, max(TOP, BOTTOM - (BOTTOM - TOP) * (y - low) / (high - low)))
    yield f'<text x="{left}" y="22" fill="{GREY}" font-size="15">{title}</text>'
    for m in marks:
        yield (f'<path d="M{left} {at_y(m):.1f}H{left + WIDTH}" stroke="{GREY}" stroke-opacity="0.3"/>'
               f'<text x="{left - 8}" y="{at_y(m) + 4:.1f}" fill="{GREY}" text-anchor="end">{m:g}</text>')
    for t in ticks:
        yield f'<text x="{at_x(t):.1f}" y="{BOTTOM + 20}" fill="{GREY}" text-anchor="middle">{t}</text>'
    yield f'<text x="{left + WIDTH / 2}" y="{BOTTOM + 40}" fill="{GREY}" text-anchor="middle">{x_name}</text>'
    for p in precisions:
        points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in mean(of[p]))
        yield f'<polyline fill="none" {LOOK[p]} points="{points}"/>'

def legend(left, top):
    for i, p in enumerate(precisions):
        y = top + 22 * i
        yield f'<path d="M{left} {y}h36" fill="none" {LOOK[p]}/><text x="{left + 46}" y="{y + 4}" fill="{GREY}">{p}</text>'

svg = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 290" font-family="sans-serif" font-size="13">',
       *panel(50, "test accuracy, %", "epoch", images, [82, 84, 86, 88, 90], [2, 4, 6, 8, 10]),
       *panel(410, "bits per character", "step", text, [2.25, 2.5, 2.75, 3, 3.25], [300, 600, 900, 1200, 1500]),
       *legend(590, 60), "</svg>", ""]
open("docs/precision.svg", "w").write("\n".join(svg))
PY
