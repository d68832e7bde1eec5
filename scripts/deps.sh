#!/usr/bin/env bash
# deps.sh [build|test|ci]: sees to the Debian packages that a build (the default), the tests, or all
# of .ci/run need. As root, or with sudo, on Debian and its relatives it installs what is missing.
# Elsewhere it says what to install and goes on: CMake finds the libraries or tells which one it misses.
set -eu

# CMake's package of Debian's oneDNN looks for OpenCL's headers.
packages=(g++ cmake ninja-build pkg-config
  libdnnl-dev ocl-icd-opencl-dev libhwy-dev libeigen3-dev libfmt-dev
  libcli11-dev libtomlplusplus-dev nlohmann-json3-dev zlib1g-dev dataset-fashion-mnist)
case ${1:-build} in
  build) ;;
  test) packages+=(libgtest-dev librapidcheck-dev ccache) ;;
  ci) packages+=(libgtest-dev librapidcheck-dev ccache git clang clang-format libomp-dev binutils valgrind) ;;
  *) echo "usage: deps.sh [build|test|ci]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "deps.sh: not a Debian system; needed are what Debian calls: ${packages[*]}"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
    missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" != 0 ]; then
  root=(sudo)
  [ -t 0 ] || root=(sudo -n)  # nobody there to type a password
  if ! command -v sudo >/dev/null || ! "${root[@]}" true; then
    echo "deps.sh: no rights to install packages; please have these installed:"
    echo "  apt-get install ${missing[*]}"
    exit 0
  fi
fi

echo "deps.sh: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1; }
if ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; }; then
  tail -5 "$log"
  echo "deps.sh: apt-get could not install them; going on with what is there"
fi
