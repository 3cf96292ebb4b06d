#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One command for a device that clmla's authors do not have: builds, tests, measures, and leaves two files to send back,
# clmla-report-DEVICE-DATE.json and .txt in the current folder. What could not run is in them with its reason.
#
#   tools/device_report.sh                 the default device
#   tools/device_report.sh --device Q      gpu, cpu, P:D or part of a name; clmla info lists them
#   tools/device_report.sh --quick         a few minutes: the main tests, small measurements
#   tools/device_report.sh --only A,B      of the steps setup, info, tests, verify, bench, compare, tune only these
#   tools/device_report.sh --build DIR     a build folder (build)
#   tools/device_report.sh --out DIR       where the two files go (.)
#
# Exit code: 0 = every step passed or was refused with a reason; 1 = a step failed, and the files say which; 2 = no such device.
# Interrupted (Ctrl-C), it ends the step, writes the two files of what there is and answers 1.
set -euo pipefail
device='' quick=false only=setup,info,tests,verify,bench,compare,tune build='' out=$PWD

value() { [ $# -ge 2 ] || { echo "tools/device_report.sh: $1 needs a value" >&2; exit 2; }; }
while [ $# -gt 0 ]; do
  case $1 in
    --device) value "$@"; device=$2; shift ;;
    --only) value "$@"; only=$2; shift ;;
    --build) value "$@"; mkdir -p "$2"; build=$(cd "$2" && pwd); shift ;;
    --out) value "$@"; mkdir -p "$2"; out=$(cd "$2" && pwd); shift ;;
    --quick) quick=true ;;
    --help | -h) sed -n '3,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tools/device_report.sh: unknown option '$1'" >&2; exit 2 ;;
  esac
  shift
done
for name in ${only//,/ }; do
  case $name in
    setup | info | tests | verify | bench | compare | tune) ;;
    *) echo "tools/device_report.sh: --only: '$name' is none of setup, info, tests, verify, bench, compare, tune" >&2; exit 2 ;;
  esac
done
cd "$(dirname "$0")/.."
[ -n "$build" ] || build=$PWD/build
clmla=$build/tools/clmla
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
logs=$build/meson-logs/device_report.json
rm -f "$logs"
at=0 current='' begin=0 # the step at work

# run SECONDS OUT ERR COMMAND...: in the background, so that a signal to this script is taken at once.
run() {
  local limit=$1 to=$2 errors=$3 # not the report's own: an interruption writes it from here
  shift 3
  timeout --kill-after=10 "$limit" "$@" >"$to" 2>"$errors" </dev/null &
  wait $!
}

# begin_step NAME COMMAND...
begin_step() {
  at=$((at + 1))
  local folder
  folder=$work/$(printf '%02d' $at)
  mkdir "$folder"
  current=$folder
  printf '%s' "$1" >"$current/name"
  shift
  printf '%s ' "$@" >"$current/command"
  begin=$SECONDS
}

# end_step CODE
end_step() {
  echo $((SECONDS - begin)) >"$current/seconds"
  echo "$1" >"$current/code"
  current=''
}

# step NAME SECONDS COMMAND...: runs it and keeps what it printed, its exit code and its time.
step() {
  local name=$1 limit=$2 code=0
  shift 2
  begin_step "$name" "$@"
  local why=''
  case ",$only," in *",${name%% *},"*) ;; *) why='left out by --only' ;; esac
  [ "${name%% *}" = setup ] || [ -x "$clmla" ] || why=${why:-"there is no $clmla: the build failed or was left out"}
  if [ -n "$why" ]; then
    echo "$why" >"$current/not_run"
    current=''
    return 0
  fi
  printf '%-24s' "$name"
  run "$limit" "$current/out" "$current/err" "$@" || code=$?
  # Killed, as it went on after the signal.
  [ "$code" != 137 ] || [ $((SECONDS - begin)) -lt "$limit" ] || code=124
  end_step "$code"
  case $code in 0) echo passed ;; 124) echo "stopped after $limit s" ;; *) echo "exit code $code" ;; esac
}

write_report() {
  trap '' INT TERM HUP
  [ ! -f "$logs" ] || cp "$logs" "$work/tests.json"
  python3 tools/device_report.py "$work" "$out" "$device" "$quick" "$(git rev-parse HEAD 2>/dev/null || echo unknown)"
}

# interrupt SIGNAL: what ran until then may have taken hours.
interrupt() {
  trap '' INT TERM HUP
  local pid
  [ "$1" != HUP ] || exec >/dev/null 2>&1 # the terminal is gone
  for pid in $(jobs -p); do
    kill "$pid" 2>/dev/null || true # timeout passes it on, and kills what does not end
    wait "$pid" 2>/dev/null || true
  done
  [ -n "$current" ] || begin_step 'between steps'
  echo "interrupted by SIG$1: the steps after it did not run" >"$current/interrupted"
  end_step 1
  echo "interrupted by SIG$1"
  write_report || true
  exit 1
}
for name in INT TERM HUP; do
  # shellcheck disable=SC2064 # the signal's name is the present one
  trap "interrupt $name" "$name"
done

query=()
[ -z "$device" ] || { query=(--device "$device"); export CLMLA_TEST_DEVICE=$device; }
# The defaults are measured, not what somebody tuned; tune writes nothing.
export CLMLA_TEST_SHORT=1 CLMLA_TUNING=off

if $quick; then
  tests=(rope merge append attend gather)
  cases=(a_v2_tiny)
  bench=(--op attend --heads 16 --tokens 512 --repeat 5)
  compare=(--tokens 256 --heads 16 --hidden 512 --q-lora 256 --seconds 0.05)
  tune=(--seconds 10) prove=() # on a GPU what is chosen is proven anyway
else
  tests=(--suite host --suite api --suite kernel --suite layer)
  cases=(a_v2_tiny b_v3_tiny_yarn c_v2lite_dims f_v3_fp8)
  bench=() compare=() tune=(--seconds 300) prove=(--prove)
fi

step "setup packages" 1800 tools/setup.sh
[ -f "$build/build.ninja" ] || step "setup build folder" 600 meson setup "$build"
step "setup build" 3600 ninja -C "$build"
code=0
[ ! -x "$clmla" ] || run 900 "$work/device" "$work/no_device" "$clmla" info "${query[@]}" || code=$?
case $code in
  0 | 124 | 137) ;; # a device that does not answer is reported on
  *) cat "$work/no_device" >&2; exit 2 ;; # there is no such device: nothing to report on
esac
step info 900 "$clmla" info --device "$device" "${prove[@]}" --json # "" is the device that the others take by default
step tests 7200 meson test -C "$build" --no-rebuild --num-processes 1 --print-errorlogs --logbase device_report "${tests[@]}"
for case in "${cases[@]}"; do
  step "verify $case" 600 "$clmla" verify "tests/data/$case" --cache f16 "${query[@]}" --json
done
step bench 3600 "$clmla" bench "${bench[@]}" "${query[@]}" --json
step compare 3600 "$clmla" compare "${compare[@]}" "${query[@]}" --json
step tune 3600 "$clmla" tune --dry-run "${tune[@]}" "${query[@]}" --json
write_report
