#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes the readers of files under clang's address and undefined-behaviour checks: all targets at once, for so long.
#
#   tests/fuzz/run.sh SECONDS [TARGET...]     targets: cache_file, config, safetensors, tuning
#
# Prints how many inputs each target ran; an input that crashes stays in build-fuzz/found, and the exit status is 1.
# CLMLA_FUZZ_CC names the compiler (clang-14).
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[ $# -gt 0 ] || targets=(cache_file config safetensors tuning)
build=build-fuzz

if [ ! -f "$build/build.ninja" ]; then
  CC=${CLMLA_FUZZ_CC:-clang-14} meson setup "$build" -Dfuzz=true -Dbuildtype=debugoptimized -Dclblast=disabled \
    -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link >/dev/null
fi
ninja -C "$build" tests/fuzz/make_seeds "${targets[@]/#/tests/fuzz/fuzz_}" >"$build/ninja.log" || { tail -n 30 "$build/ninja.log"; exit 1; }

# What earlier runs found interesting is kept beside the seeds.
mkdir -p "$build/found" "$build"/corpus/{cache_file,config,safetensors,tuning} "$build"/seeds/{cache_file,config,safetensors,tuning}
"$build/tests/fuzz/make_seeds" "$build/seeds"
number=0
for config in tests/data/*/config*.json data/tinylm/config.json; do
  cp "$config" "$build/seeds/config/seed$((number++))"
done

printf 'clmla tuning 1\n# ours\ndevice D\ndriver V\nattend.part_keys 256\ndevice a\ndriver b\nx 1\n' >"$build/seeds/tuning/seed0"

declare -A running
for target in "${targets[@]}"; do
  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
    "$build/corpus/$target" "$build/seeds/$target" >"$build/$target.log" 2>&1 &
  running[$target]=$!
done

failed=0
for target in "${targets[@]}"; do
  if wait "${running[$target]}"; then
    printf 'fuzz %-12s %s inputs in %s s, none crashed\n' "$target" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log")" "$seconds"
  else
    failed=1
    printf 'fuzz %-12s FAILED\n' "$target"
    tail -n 40 "$build/$target.log"
  fi
done
exit $failed
