#!/usr/bin/env bash
# check_headers.sh [COMPILER]: every public header compiles alone, without warnings.
set -eu
cd "$(dirname "$0")/.."
export compiler=${1:-g++}
find include -name '*.h' -printf '%P\n' | sort | xargs -P "$(nproc)" -I{} sh -c '
  echo "#include <{}>" | "$compiler" -std=c++20 -Iinclude -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ -'
