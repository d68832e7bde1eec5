#!/usr/bin/env bash
# pkg_config.sh PREFIX LIBDIR COMPILER SOURCE: compiles and runs SOURCE by what rein.pc says.
set -eu
prefix=$1 libdir=$2 compiler=$3 source=$4
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
read -ra flags < <(pkg-config --cflags --libs rein)
"$compiler" -std=c++20 "$source" "${flags[@]}" -o "$prefix/pkg_config_consumer"
LD_LIBRARY_PATH=$prefix/$libdir "$prefix/pkg_config_consumer"
