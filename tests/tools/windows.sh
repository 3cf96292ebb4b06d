#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles and links library and program for Windows with mingw-w64. OpenCL and cJSON come as import libraries made from the
# names that this machine's own libraries export, so the result is linked whole and not run.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-windows
target=x86_64-w64-mingw32
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

# import_library NAME DLL HEADER-FOLDER
import_library() {
  local library
  library=$(find /usr/lib /usr/lib64 -name "lib$1.so" 2>/dev/null | head -n 1)
  { echo "LIBRARY $2"; echo EXPORTS; nm -D --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }'; } >"$stage/$1.def"
  $target-dlltool -d "$stage/$1.def" -l "$stage/lib$1.dll.a"
  cp -r "/usr/include/$3" "$stage/include/"
  printf 'Name: %s\nDescription: import library\nVersion: 3.0\nLibs: -L%s -l%s\nCflags: -I%s/include\n' \
    "$1" "$stage" "$1" "$stage" >"$stage/$4.pc"
}

mkdir "$stage/include"
import_library OpenCL OpenCL.dll CL OpenCL
import_library cjson libcjson.dll cjson libcjson
cat >"$stage/cross.ini" <<INI
[binaries]
c = '$target-gcc'
ar = '$target-ar'
strip = '$target-strip'
pkgconfig = 'pkg-config'
[properties]
pkg_config_libdir = '$stage'
[host_machine]
system = 'windows'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
INI
rm -rf "$build"
meson setup "$build" --cross-file "$stage/cross.ini" -Dtests=false -Dclblast=disabled --werror >"$stage/setup.log" || { cat "$stage/setup.log"; exit 1; }
ninja -C "$build" --quiet
[ -f "$build/tools/clmla.exe" ]
