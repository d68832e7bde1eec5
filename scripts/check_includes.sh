#!/usr/bin/env bash
# check_includes.sh [ROOT]: who may include whom. Prints each include that the table below does not
# allow, and fails if there is one. docs/architecture.md says what the folders are.
set -eu
cd "${1:-$(dirname "$0")/..}"

find include src apps tests examples bench -name '*.h' -o -name '*.cpp' 2>/dev/null | sort |
  xargs awk '
BEGIN {
  # Folder -> the folders whose headers it may include. "all": every one.
  allow["base"] = "base"
  allow["tensor"] = "base tensor"
  allow["kernels"] = "base kernels"
  allow["compute"] = "base tensor kernels compute"
  allow["process"] = "base tensor kernels dist process"
  allow["apply"] = allow["process"] " apply"
  allow["nn"] = allow["compute"] " process nn"
  allow["data"] = "base tensor data"
  allow["io"] = "base tensor io"
  allow["dist"] = "base dist"
  allow["train"] = "all"

  # Library -> the folders whose .cpp files may include it. Public headers include none.
  library["fmt"] = "all"
  library["dnnl"] = library["hwy"] = library["omp.h"] = "kernels tests"
  library["Eigen"] = "kernels nn tests"
  library["nlohmann"] = library["toml++"] = library["zlib.h"] = "io data apps tests"
  library["CLI"] = "apps"
}

function has(list, word) { return list == "all" || index(" " list " ", " " word " ") }
function complain(what) {
  printf "%s:%d: %s\n", FILENAME, FNR, what
  bad = 1
}
function exists(file,   line, found) {
  found = (getline line < file) >= 0
  close(file)
  return found
}
function check_pragma() {
  if (wants_pragma) print wants_pragma ": a header without #pragma once"
  if (wants_pragma) bad = 1
}

FNR == 1 {
  check_pragma()
  n = split(FILENAME, path, "/")
  public_header = path[1] == "include"
  inside = public_header || path[1] == "src"
  folder = public_header ? path[3] : inside ? path[2] : path[1]
  if (inside && !(folder in allow) && FILENAME != "include/rein/rein.h")
    complain("folder " folder " has no row in scripts/check_includes.sh")
  directory = FILENAME
  sub(/[^\/]*$/, "", directory)
  wants_pragma = FILENAME ~ /\.h$/ ? FILENAME : ""
}
/^#pragma once/ || /HWY_TARGET_TOGGLE/ { wants_pragma = "" }  # Highway includes some headers again

/^[ \t]*#[ \t]*include/ {
  match($0, /[<"][^>"]*[>"]/)
  target = substr($0, RSTART + 1, RLENGTH - 2)
  n = split(target, part, "/")
  if (part[1] == "rein") {
    to = n > 2 ? part[2] : "train"  # rein/rein.h has everything
  } else if (index($0, "\"") && exists(directory target)) {
    next  # a private header beside the file
  } else if (index($0, "\"")) {
    to = part[1]  # a private header of src
    if (!inside && path[1] != "tests" && (to in allow))
      complain(path[1] " sees only public headers, not " target)
  } else {
    split(target, stem, "[.]")
    for (name in library)
      if (part[1] == name || target ~ "^" name "[.h_]") {
        if (public_header) complain("a public header includes " target)
        else if (!has(library[name], folder)) complain(folder " may not include " target)
      }
    next
  }
  if (inside && (folder in allow) && !has(allow[folder], to) && (to in allow))
    complain(folder " may not include " to " (" target ")")
  if (inside && !(to in allow)) complain("an include from no known folder: " target)
}
END {
  check_pragma()
  exit bad
}'
