#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to a running model: installs what is missing, builds, checks one attention layer of
# DeepSeek-V2-Lite's shape against Hugging Face's numbers, and lets a small bundled model write.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build
prompt=${1:-In the beginning God }

tools/setup.sh
[ -f $build/build.ninja ] || meson setup $build >$build.log 2>&1 || { cat $build.log >&2; exit 1; }
rm -f $build.log
echo "building ..."
ninja -C $build --quiet tools/clmla

echo
echo "--- an attention layer against its reference"
$build/tools/clmla verify tests/data/c_v2lite_dims

echo
echo "--- a small language model, byte by byte"
printf '%s' "$prompt"
$build/tools/clmla generate data/tinylm --prompt "$prompt" -n 200
echo
echo "all of it in $SECONDS s"
