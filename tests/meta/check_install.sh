#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An installed clmla serves the README's first program through pkg-config, shared and static.
#
#   check_install.sh SOURCE_ROOT BUILD_FOLDER
set -euo pipefail
root=$1 build=$2 case=$1/tests/data/c_v2lite_dims
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$root/tests/tools/extract_program.py" "$root/README.md" "$work/program.c"
program=$work/program.c
meson install -C "$build" --no-rebuild --quiet --destdir "$work/root" >"$work/log" || { cat "$work/log"; exit 1; }
folder=$(dirname "$(find "$work/root" -name clmla.pc)")
prefix=$(sed -n 's/^prefix=//p' "$folder/clmla.pc")
export PKG_CONFIG_PATH=$folder
config() { pkg-config --define-variable=prefix="$work/root$prefix" "$@"; }
library=$(config --variable=libdir clmla)

# shellcheck disable=SC2046 # pkg-config answers words
cc -std=c11 "$program" $(config --cflags --libs clmla) -o "$work/shared"
LD_LIBRARY_PATH=$library "$work/shared" "$case"
# shellcheck disable=SC2046
cc -std=c11 "$program" $(config --cflags clmla) "$library/libclmla.a" $(config --static --libs clmla | sed 's/-lclmla//') -o "$work/static"
"$work/static" "$case"
[ -x "$(find "$work/root" -path '*/bin/clmla')" ]
