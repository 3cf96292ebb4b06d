#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Cross-builds clmla for 64-bit Windows with mingw-w64, and runs the program under Wine, whose opencl.dll reaches the
# Linux machine's OpenCL devices.
#
#   tools/windows.sh [BUILD_FOLDER]     default: build-windows
#
# Ends with 77 where it built but nothing could be run.
#
# Needs Debian's gcc-mingw-w64-x86-64, wine64, meson, and apt's source packages for cJSON; tools/setup.sh --windows
# installs them.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-windows}
triple=x86_64-w64-mingw32
mkdir -p "$build"
build=$(cd "$build" && pwd)
prefix=$build-prefix
mkdir -p "$prefix/lib/pkgconfig" "$prefix/include"

# An import library for opencl.dll, from the functions the headers declare.
{
  echo 'LIBRARY opencl.dll'
  echo EXPORTS
  grep -hoE '\bcl[A-Z][A-Za-z]+\(' /usr/include/CL/cl.h | tr -d '(' | sort -u
} >"$prefix/opencl.def"
$triple-dlltool -d "$prefix/opencl.def" -l "$prefix/lib/libOpenCL.a"
cp -r /usr/include/CL "$prefix/include/"
cat >"$prefix/lib/pkgconfig/OpenCL.pc" <<EOF
Name: OpenCL
Description: OpenCL
Version: 3.0
Cflags: -I$prefix/include
Libs: -L$prefix/lib -lOpenCL
EOF

# cJSON from Debian's source package.
if [ ! -f "$prefix/lib/libcjson.a" ]; then
  source_folder=$(mktemp -d)
  trap 'rm -rf "$source_folder"' EXIT
  mkdir -p "$source_folder/parts" "$source_folder/lists/partial"
  find /etc/apt/sources.list.d -name '*.sources' -exec sed 's/^Types: deb$/Types: deb-src/' {} + >"$source_folder/parts/src.sources"
  find /etc/apt -maxdepth 2 -name '*.list' -exec sed -n 's/^deb /deb-src /p' {} + >"$source_folder/parts/src.list"
  apt_source=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$source_folder/parts"
    -o "Dir::State::lists=$source_folder/lists" -o APT::Sandbox::User=root)
  "${apt_source[@]}" update
  (cd "$source_folder" && "${apt_source[@]}" source --download-only cjson && tar xf cjson_*.orig.tar.gz --strip-components=1)
  mkdir -p "$prefix/include/cjson"
  cp "$source_folder/cJSON.h" "$prefix/include/cjson/"
  $triple-gcc -O2 -DCJSON_HIDE_SYMBOLS -c "$source_folder/cJSON.c" -o "$source_folder/cJSON.o"
  $triple-ar rcs "$prefix/lib/libcjson.a" "$source_folder/cJSON.o"
fi
cat >"$prefix/lib/pkgconfig/libcjson.pc" <<EOF
Name: libcjson
Description: cJSON
Version: 1.7.15
Cflags: -I$prefix/include -DCJSON_HIDE_SYMBOLS
Libs: -L$prefix/lib -lcjson
EOF

cat >"$prefix/cross.ini" <<EOF
[binaries]
c = '$triple-gcc'
ar = '$triple-ar'
strip = '$triple-strip'
pkgconfig = 'pkg-config'
[properties]
pkg_config_libdir = '$prefix/lib/pkgconfig'
[host_machine]
system = 'windows'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
EOF

[ -f "$build/build.ninja" ] || meson setup "$build" --cross-file "$prefix/cross.ini" -Dtests=false -Dclblast=disabled -Dwerror=true
ninja -C "$build" --quiet
cp "$build"/lib/*.dll "$build/tools/"
for runtime in libwinpthread-1.dll libgcc_s_seh-1.dll; do
  cp "$($triple-gcc -print-file-name=$runtime)" "$build/tools/"
done

if ! command -v wine >/dev/null; then
  echo 'windows: built; wine64 is not installed, so nothing was run'
  exit 77
fi
export WINEDEBUG=-all WINEPREFIX=${WINEPREFIX:-$build-wine} DISPLAY=
# Wine itself may fail to start in a new folder of its own; what is tested is the program, so that is tried again, and then said.
run() { timeout 300 wine "$build/tools/clmla.exe" "$@"; }
starts() {
  local try
  for try in 1 2 3; do
    run --version && return 0
    rm -rf "$WINEPREFIX"
  done
  return 1
}
if ! starts; then
  if timeout 300 wine cmd /c exit; then
    echo 'windows: Wine runs its own programs, but not clmla.exe' >&2
    exit 1
  fi
  echo 'windows: built, but Wine starts no program here, not even its own; nothing was run'
  exit 77
fi
run info
run verify tests/data/a_v2_tiny --chunk 7
run generate data/tinylm --prompt 'In the beginning ' -n 40
echo 'windows: the cross build ran under Wine'
