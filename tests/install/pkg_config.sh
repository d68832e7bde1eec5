#!/usr/bin/env bash
# pkg_config.sh PREFIX LIBDIR COMPILER FOLDER: compiles and runs FOLDER/main.cpp by what rein.pc says,
# and FOLDER/files.cpp by rein_io.pc.
set -eu
prefix=$1 libdir=$2 compiler=$3 folder=$4
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
build_and_run() {  # build_and_run SOURCE PACKAGE
  local flags
  read -ra flags < <(pkg-config --cflags --libs "$2")
  "$compiler" -std=c++20 "$folder/$1" "${flags[@]}" -o "$prefix/pkg_config_consumer"
  LD_LIBRARY_PATH=$prefix/$libdir "$prefix/pkg_config_consumer"
}
build_and_run main.cpp rein
build_and_run files.cpp rein_io
