#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building and testing clmla need, where it is missing and apt can do it; says what to install otherwise.
#
#   tools/setup.sh              a compiler, meson, the libraries, an OpenCL driver for the CPU (PoCL)
#   tools/setup.sh oclgrind     ... and the named extras: oclgrind, mesa, venv, windows, fuzz (clang's libFuzzer), offline
#                               (GPU vendors' compilers, or one of them: offline-amd, offline-intel, offline-nvidia)
set -euo pipefail

has() { command -v "$1" >/dev/null 2>&1; }
has_library() { has pkg-config && pkg-config --exists "$1"; }
has_bitcode() { [ -e "/usr/lib/$1.bc" ]; }
has_driver() { [ -e "/etc/OpenCL/vendors/$1.icd" ]; }

# Debian's names of the packages whose contents are not there.
missing() {
  has gcc || echo gcc libc6-dev
  has python3 || echo python3
  has meson || echo meson
  has ninja || echo ninja-build
  has pkg-config || echo pkg-config
  has_library OpenCL || echo ocl-icd-opencl-dev
  has_library libcjson || echo libcjson-dev
  has_library check || echo check
  has_library clblast || echo libclblast-dev
  [ -e /usr/include/CL/cl.h ] || has_library OpenCL-Headers || echo opencl-headers
  has_driver pocl || echo pocl-opencl-icd
  local extra
  for extra in "$@"; do
    case $extra in
      oclgrind) has oclgrind || echo oclgrind ;;
      mesa) has_driver rusticl || echo mesa-opencl-icd; [ -e /usr/lib/clc/spirv64-mesa3d-.spv ] || echo libclc-15 ;;
      venv) python3 -c 'import ensurepip' >/dev/null 2>&1 || echo python3-venv ;;
      windows) has x86_64-w64-mingw32-gcc || echo gcc-mingw-w64-x86-64; has wine || echo wine64 wine ;;
      fuzz)
        has clang-14 || echo clang-14
        compgen -G "/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a" >/dev/null || echo libclang-rt-14-dev
        ;;
      offline-amd) has clang-19 || echo clang-19; has_bitcode x86_64-linux-gnu/amdgcn/bitcode/ocml || echo rocm-device-libs ;;
      offline-intel) has ocloc || echo intel-opencl-icd ;;
      # Not libclc-19: one libclc can be installed, and Mesa's driver depends on that of 15.
      offline-nvidia)
        has clang-19 || echo clang-19
        has llc-19 || echo llvm-19
        has_bitcode clc/nvptx64--nvidiacl || echo libclc-15
        ;;
      *) echo "tools/setup.sh: unknown extra '$extra'" >&2; exit 2 ;;
    esac
  done
}

install() {
  local log
  log=$(mktemp)
  echo "installing: $*"
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "tools/setup.sh: apt-get could not install: $*" >&2
    exit 1
  fi
  rm -f "$log"
}

extras=()
for extra in "$@"; do
  case $extra in
    offline) extras+=(offline-amd offline-intel offline-nvidia) ;;
    *) extras+=("$extra") ;;
  esac
done
names=$(missing "${extras[@]}")
[ -n "$names" ] || exit 0
read -r -d '' -a packages <<<"$names" || true
if has apt-get && [ "$(id -u)" = 0 ]; then
  install "${packages[@]}"
else
  echo "not found; please install (Debian's names): ${packages[*]}" >&2
fi
