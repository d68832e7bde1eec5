#!/usr/bin/env bash
# check_headers.sh [COMPILER]: every public header compiles alone.
set -eu
cd "$(dirname "$0")/.."
find include -name '*.h' | sort | xargs -P "$(nproc)" -I{} \
  "${1:-g++}" -std=c++20 -Iinclude -Wall -Wextra -Wno-pragma-once-outside-header -Werror -fsyntax-only -x c++ {}
