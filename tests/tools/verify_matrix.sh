#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every combination of case, cache format, tokens a step and page size through `clmla verify`: 480 runs.
#
#   verify_matrix.sh CLMLA [--shard I/N]     the I-th of N parts, I from 1
set -euo pipefail
clmla=$1 part=1 parts=1
if [ "${2:-}" = --shard ]; then part=${3%/*} parts=${3#*/}; fi
data=$(cd "$(dirname "$0")/../data" && pwd)
number=0 ran=0 failed=0
for case in a_v2_tiny b_v3_tiny_yarn c_v2lite_dims f_v3_fp8; do
  for cache in f32 f16 bf16 fp8 fp8_flat fp8_paged q8 q6 q5 q4; do
    for chunk in 1 7 0; do
      for page in 1 16 64 0; do
        number=$((number + 1))
        [ $((number % parts)) = $((part % parts)) ] || continue
        ran=$((ran + 1))
        if ! answer=$("$clmla" verify "$data/$case" --cache $cache --chunk $chunk --page $page 2>&1); then
          failed=$((failed + 1))
          printf 'FAIL: clmla verify tests/data/%s --cache %s --chunk %s --page %s\n%s\n' $case $cache $chunk $page "$answer"
        fi
      done
    done
  done
done
echo "$ran combinations, $failed failed"
[ "$failed" = 0 ] && [ "$ran" -gt 0 ]
