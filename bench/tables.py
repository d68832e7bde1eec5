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
    return re.search(r"Model name:\s*(.*)", lscpu)[1] + (" with AMX" if "amx_tile" in lscpu else "")


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
