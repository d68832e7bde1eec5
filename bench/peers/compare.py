"""compare.py [--shapes A,B] [--seconds S] [--realtime] [--doc FILE]: Rein beside PyTorch, TensorFlow, JAX.

Runs `rein bench step` and frameworks.py as processes of their own, in turn for each shape and number of
threads; twice, the second time only the mode of a framework that was faster. Prints the table, writes it
to build/peers/table.md, and between the marks in FILE. Start it by run.sh.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

from frameworks import FRAMEWORKS, SHAPES

ROOT = pathlib.Path(__file__).resolve().parents[2]
TITLES = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX"}
BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"

# The C library gives large buffers back to the system after each use, which costs PyTorch and JAX up to
# a third of a step: here it keeps them, and asks for huge pages.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000",
          "MALLOC_TOP_PAD_": "268435456", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def run(command, threads, timeout):
    """What the process printed, line by line as JSON; what it had not printed in time is missing."""
    environment = {**os.environ, **MALLOC, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    if threads == 1:  # XLA has no setting for threads: it looks for processors
        command = ["taskset", "-c", str(max(os.sched_getaffinity(0))), *command]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate(timeout=timeout)
        if process.returncode != 0:
            print(f"{' '.join(command)}: {errors.strip().splitlines()[-1:]}", file=sys.stderr)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        print(f"{' '.join(command)}: not done in {timeout} s", file=sys.stderr)
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def measure(shape, threads, installed, options):
    """{"rein" or framework: the best of its results}"""
    best = {}

    def keep(name, results):
        for result in results:
            if name not in best or result["ms_min"] < best[name]["ms_min"]:
                best[name] = result

    for _ in range(2):
        rein = [str(ROOT / "build/release/bin/rein"), "bench", "step", "--shape", shape, "--threads",
                str(threads), "--seconds", str(options.seconds), "--json"]
        keep("rein", run(["chrt", "-f", "1", *rein] if options.realtime else rein, threads, 60))
        for name in installed:
            mode = [best[name]["mode"]] if name in best else []
            keep(name, run([sys.executable, str(ROOT / "bench/peers/frameworks.py"), name, shape,
                            str(threads), str(options.seconds), str(int(options.realtime)), *mode],
                           threads, 90))
    return best


def number(ms):
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}"


def row(shape, threads, best):
    cells, peers = [shape, str(threads)], [best[n]["ms_min"] for n in FRAMEWORKS if n in best]
    rein = best["rein"]
    cells.append(f"**{number(rein['ms_min'])}** ({100 * rein['share']:.0f} %)")
    for name in FRAMEWORKS:
        one_mode = name in best and best[name]["mode"] in ("eager", "jit", "tf.function")
        mode = "" if name not in best or one_mode else f" ({best[name]['mode']})"
        cells.append(f"{number(best[name]['ms_min'])}{mode}" if name in best else "-")
    cells.append(f"{min(peers) / rein['ms_min']:.2f}" if peers else "-")
    return "| " + " | ".join(cells) + " |"


def machine():
    fields = dict(line.split(":", 1) for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
                  .replace("\t", "").splitlines() if ":" in line)
    sets = [s for s in ("avx2", "avx512f", "amx_tile") if s in fields.get("flags", "").split()]
    model = f"{fields['model name'].strip()} (family {fields['cpu family'].strip()}, " \
            f"model {fields['model'].strip()}), {len(os.sched_getaffinity(0))} processors"
    return f"{model}, {', '.join(sets)}"


def table(results, versions):
    head = ["shape", "threads", "Rein (share of sgemm)"]
    head += [TITLES[name] for name in FRAMEWORKS] + ["best peer / Rein"]
    lines = [f"Least time of one training step in ms, {time.strftime('%Y-%m-%d')}, {machine()}.",
             f"{', '.join(versions)}; made by `bench/peers/run.sh`.", "",
             "| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    return "\n".join(lines + [row(*result) for result in results]) + "\n"


def write_between_marks(file, text):
    before, _, rest = file.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{file}: no {BEGIN} ... {END}")
    file.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--realtime", action="store_true", help="others wait (needs the right to chrt)")
    parser.add_argument("--doc", type=pathlib.Path)
    options = parser.parse_args()

    installed = [name for name in FRAMEWORKS if importlib.util.find_spec(name)]
    for name in set(FRAMEWORKS) - set(installed):
        print(f"{TITLES[name]} is not installed: left out", file=sys.stderr)
    results, versions = [], {}
    for shape in options.shapes.split(","):
        for threads in (1, 2):
            best = measure(shape, threads, installed, options)
            results.append((shape, threads, best))
            versions.update({n: f"{TITLES[n]} {best[n]['version']}" for n in installed if n in best})
            print(row(*results[-1]), flush=True)
    text = table(results, [versions[name] for name in FRAMEWORKS if name in versions])
    (ROOT / "build/peers/table.md").write_text(text)
    if options.doc:
        write_between_marks(options.doc, text)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
