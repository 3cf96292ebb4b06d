#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each public header compiles alone, as C11 and, where there is a compiler for it, as C++11.
#
#   check_headers.sh SOURCE_ROOT
set -euo pipefail
root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cxx=$(command -v g++ || command -v clang++ || true)
for header in "$root"/include/clmla/*.h; do
  printf '#include <clmla/%s>\nint alone;\n' "$(basename "$header")" >"$work/alone.c"
  cc -std=c11 -Wall -Wextra -pedantic -Werror -I "$root/include" -fsyntax-only "$work/alone.c"
  [ -z "$cxx" ] || "$cxx" -x c++ -std=c++11 -Wall -Wextra -pedantic -Werror -I "$root/include" -fsyntax-only "$work/alone.c"
done
[ -n "$cxx" ] || echo 'no C++ compiler: the headers were compiled as C alone'
