#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the attention layers under Oclgrind, which sees data races and accesses outside buffers. It exits 0 whatever it finds,
# so its log decides; a planted race and a planted overrun show that it looks. Its check for uninitialised reads crashes on
# any kernel that takes an element out of a vector (21.10), so it is left out here.
#
#   oclgrind.sh CLMLA CHECK...     the program, and kernel tests in their short form; of check_baseline the kernels for GPUs
set -euo pipefail
clmla=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Without a driver folder the loader finds no other device beside Oclgrind's.
export OCL_ICD_VENDORS=/nonexistent CLMLA_PROGRAM_CACHE=off

planted() {
  : >"$log"
  oclgrind-kernel --data-races --log "$log" "$here/planted_$1.sim" >/dev/null 2>&1 || true
  grep -q "$2" "$log" || { echo "Oclgrind did not report the planted $1"; exit 1; }
}

clean() {
  : >"$log"
  if ! oclgrind --data-races --log "$log" "$clmla" verify "$@"; then
    echo "clmla verify $* failed under Oclgrind"
    exit 1
  fi
  [ ! -s "$log" ] || { head -n 40 "$log"; exit 1; }
}

(cd "$here" && planted race 'data race' && planted overrun 'Invalid write')
clean "$here/../data/a_v2_tiny" --cache f16 --chunk 0 --page 16
clean "$here/../data/f_v3_fp8" --cache bf16 --chunk 7 --page 1

short_form() {
  : >"$log"
  CLMLA_TEST_SHORT=1 oclgrind --data-races --log "$log" "$@"
  [ ! -s "$log" ] || { head -n 40 "$log"; exit 1; }
}
for check in "$@"; do
  case $check in
    */check_baseline) # a stream of keys and a tile, and both kinds of products over latent rows
      for number in 1 3; do
        CLMLA_TEST_GPU=1 CLMLA_TEST_GROUP=32 CLMLA_TEST_CASE=$number short_form "$check"
      done ;;
    *) short_form "$check" ;;
  esac
done
