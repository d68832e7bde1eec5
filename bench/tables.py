"""What the scripts that make tables share."""
import datetime
import json
import re
import subprocess


def read(path):
    """The JSON objects of a file, one on each line."""
    return [json.loads(line) for line in open(path)]


def machine():
    lscpu = subprocess.run(["lscpu"], capture_output=True, text=True).stdout
    units = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}
    best = next((name for flag, name in units.items() if flag in lscpu), "SSE")
    return re.search(r"Model name:\s*(.*)", lscpu)[1] + f" with {best}"


def made(commit):
    return f"{datetime.date.today()}, commit {commit}"


def middle(runs):
    """Of several runs of a step the one in the middle: the time of its fast steps in ms, and their share."""
    run = sorted(runs, key=lambda r: r["share"])[len(runs) // 2]
    return run["ms_steady"], run["share"]


def put(page, name, change):
    """Replaces what stands between the marks of `name` in a page by what `change` makes of it."""
    text = open(page).read()
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, rest = text.split(begin)
    old, after = rest.split(end)
    open(page, "w").write(before + begin + change(old) + "\n" + end + after)


def put_beside_others(page, name, head, table):
    """Puts in a table whose text begins with `head`, the script and the machine, in the place of the one that does
    so; those of other machines stay."""
    script = head.split(",")[0]

    def change(old):
        there = [t.strip() for t in re.split(f"(?m)^(?={re.escape(script)})", old) if t.strip()]
        return "\n\n".join([*(t for t in there if not t.startswith(head)), table])

    put(page, name, change)
