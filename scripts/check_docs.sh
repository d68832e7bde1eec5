#!/usr/bin/env bash
# check_docs.sh [ROOT]: the C++ in the documents is the C++ of the repository. Every ```cpp block of
# README.md and docs/*.md follows a line <!-- from FILE -->, and stands in that file line by line
# (indentation aside). At an empty line, one that says "// ...", or before a closing brace, lines may be
# left out. Also follows the relative links of the documents. Prints what is wrong and fails.
set -eu
cd "${1:-$(dirname "$0")/..}"

awk '
function trim(s) {
  gsub(/^[ \t]+|[ \t]+$/, "", s)
  return s
}
function complain(line, what) {
  printf "%s:%d: %s\n", FILENAME, line, what
  bad = 1
}
# The first line of the source from `at` on where all of piece[1..n] stands; 0 if nowhere.
function find_piece(at,   i, k) {
  for (i = at; i + n - 1 <= lines; ++i) {
    for (k = 1; k <= n && source[i + k - 1] == piece[k]; ++k);
    if (k > n) return i
  }
  return 0
}
function end_piece(   found) {
  if (n == 0) return
  found = find_piece(reached)
  if (!found) complain(piece_line, "this is not in " file " (or not in this order): " piece[1])
  else reached = found + n
  n = 0
}
function read_source(   line) {
  lines = 0
  while ((getline line < file) > 0) source[++lines] = trim(line)
  close(file)
  if (lines == 0) complain(FNR, "no such file: " file)
}
function check_links(line,   target, directory) {
  directory = FILENAME
  sub(/[^\/]*$/, "", directory)
  while (match(line, /\]\([^)#]+/)) {
    target = substr(line, RSTART + 2, RLENGTH - 2)
    line = substr(line, RSTART + RLENGTH)
    if (target !~ /^[a-z]+:/ && system("test -e \"" directory target "\"") != 0)
      complain(FNR, "a link to nothing: " target)
  }
}

FNR == 1 { in_cpp = in_other = 0; file = "" }
in_cpp && /^```/ { end_piece(); in_cpp = 0; file = ""; next }
in_cpp {
  if (trim($0) == "// ..." || trim($0) == "") { end_piece(); next }
  if (trim($0) == "}") end_piece()  # before it lines may be left out too
  if (n == 0) piece_line = FNR
  piece[++n] = trim($0)
  next
}
in_other { if (/^```/) in_other = 0; next }
/^<!-- from .* -->$/ { file = $3; next }
/^```cpp/ {
  in_cpp = 1
  n = 0
  reached = 1
  ++blocks
  if (file == "") complain(FNR, "a C++ block without <!-- from FILE --> above it")
  else read_source()
  next
}
/^```/ { in_other = 1; next }
{ check_links($0) }
END {
  if (!bad) printf "%d C++ blocks stand in their files\n", blocks
  exit bad
}' README.md CONTRIBUTING.md docs/*.md
