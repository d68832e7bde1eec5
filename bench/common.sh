# Sourced by the scripts that make tables: goes to the repository, finds the program, and says of which
# commit it is. `results` is a file that is gone afterwards.
cd "$(dirname "$0")/.."
rein=build/release/bin/rein
[ -x "$rein" ] || { echo "$0: no $rein; run scripts/build.sh release first" >&2; exit 1; }
commit=$(git describe --always)
git diff --quiet HEAD -- src include apps || commit+=-dirty
results=$(mktemp)
trap 'rm -f "$results"' EXIT
export PYTHONPATH=bench PYTHONDONTWRITEBYTECODE=1
