#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sets up, builds and runs the tests. The last line counts them.
#
#   tools/check.sh                  all tests on PoCL
#   tools/check.sh --all-devices    ... then those on Intel's CPU runtime, short ones under Oclgrind and on Mesa's rusticl
#   tools/check.sh --sanitize       ... then all but the programs' tests under gcc's sanitizers
#   tools/check.sh --windows        ... then a cross build for Windows
#   tools/check.sh --offline        ... then the kernels through the compilers of three GPU vendors
#   tools/check.sh --fuzz           ... then a minute of fuzzing the readers of files
#   tools/check.sh --short          ... with --all-devices, --sanitize, --offline and --fuzz: short forms; few programs on PoCL
#   tools/check.sh --full-verify    ... then every combination of clmla verify
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
build=$root/build
passed=0 failed=0 skipped=0

# meson would have the C library fill all memory that is allocated: PoCL takes tens of megabytes for each program it builds. The library's
# own allocations begin as zeros, and what is used after it was freed is the sanitizers' to find.
export MALLOC_PERTURB_=0

say() { printf '\n=== %s (at %d s)\n' "$*" "$SECONDS"; }

# Adds the results of one meson test run, by the name of its log.
count() {
  local results
  results=$(python3 - "$1" <<'PYTHON'
import collections, json, sys
kinds = {'OK': 'passed', 'EXPECTEDFAIL': 'passed', 'SKIP': 'skipped', 'IGNORED': 'skipped'}
totals = collections.Counter()
for line in open(sys.argv[1], encoding='utf-8'):
    totals[kinds.get(json.loads(line)['result'], 'failed')] += 1
print(totals['passed'], totals['failed'], totals['skipped'])
PYTHON
  )
  local p f s
  read -r p f s <<<"$results"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# Counts a check that is not meson's: tally NAME COMMAND...
tally() {
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    echo "ok    $name"
  else
    failed=$((failed + 1))
    echo "FAIL  $name"
  fi
}

skip() {
  skipped=$((skipped + 1))
  echo "skip  $1"
}

# run_tests BUILD NAME [meson test's arguments]: the name is also that of the log.
run_tests() {
  local folder=$1 name=$2
  shift 2
  local results=$folder/meson-logs/$name.json
  # meson adds a wrapper's name to that of the log.
  [[ " $* " != *" --wrap "* ]] || results=$folder/meson-logs/$name-env.json
  rm -f "$results"
  meson test -C "$folder" --num-processes 2 --timeout-multiplier 3 --print-errorlogs --logbase "$name" "$@" || true
  if [ -f "$results" ]; then
    count "$results"
  else
    failed=$((failed + 1))
    echo "FAIL  $name: meson test left no results"
  fi
}

make_build() {
  local folder=$1
  shift
  [ -f "$folder/build.ninja" ] || meson setup "$folder" "$@"
  ninja -C "$folder"
}

on_pocl() {
  say "all tests on PoCL"
  # PoCL keeps what it compiled itself. The program's own store is tested with folders of the tests' own, and used on Intel's
  # runtime: here it would only have PoCL compile each kernel a second time, for groups of any size.
  CLMLA_TEST_FEW_PROGRAMS=$short_form OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd run_tests "$build" pocl \
    --no-rebuild --no-suite offline "${pocl_without[@]}" --wrap 'env CLMLA_PROGRAM_CACHE=off'
}

# Intel's CPU runtime from PyPI; its own copy of the loader would shadow the system's.
install_intel() {
  local venv=$1
  [ -e "$venv/lib/libintelocl.so" ] && return 0
  python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check intel-opencl-rt intel-cmplr-lib-rt || return 1
  rm -f "$venv"/lib/libOpenCL*
}

on_intel() {
  say "all tests that touch a device, on Intel's CPU runtime"
  local venv=$root/.venv-intel
  if ! wait_for extras || ! [ -e "$venv/lib/libintelocl.so" ]; then
    skip "Intel's CPU runtime: pip could not install it, so nothing ran there"
    return
  fi
  rm -rf "$build/programs-intel" # Intel's runtime keeps nothing itself
  CLMLA_TEST_PROGRAMS=$build/programs-intel CLMLA_TEST_SHORT=$short_form OCL_ICD_VENDORS=$venv/lib/libintelocl.so LD_LIBRARY_PATH=$venv/lib run_tests "$build" intel \
    --no-rebuild "${intel_suites[@]}"
}

on_rusticl() {
  say "Mesa's rusticl on llvmpipe"
  wait_for extras || true
  local fault
  export RUSTICL_ENABLE=llvmpipe OCL_ICD_VENDORS=/etc/OpenCL/vendors/rusticl.icd
  fault=$("$build/tools/clmla" info --device rusticl 2>&1 | sed -n 's/^ *known fault *//p; s/^clmla info: //p') || true
  if [ -z "$fault" ]; then
    run_tests "$build" rusticl --no-rebuild --suite short
  else
    skip "rusticl: $fault"
  fi
  unset RUSTICL_ENABLE OCL_ICD_VENDORS
}

sanitized() {
  say "address and undefined-behaviour checks"
  # meson test builds what these suites need, and no more.
  [ -f build-sanitize/build.ninja ] ||
    meson setup build-sanitize -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debug
  # Drivers and the loader keep what they allocated until the process ends: leaks are looked for in our own frames alone.
  CLMLA_TEST_SHORT=$short_form OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd LSAN_OPTIONS=suppressions=$root/tests/tools/leaks.supp:print_suppressions=0 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    run_tests "$root/build-sanitize" sanitize "${sanitize_suites[@]}"
}

# NVIDIA's assembler from PyPI, where there is no CUDA toolkit.
install_ptxas() {
  local venv=$root/.venv-ptxas
  if command -v ptxas || compgen -G "/usr/local/cuda/bin/ptxas" || compgen -G "$venv/lib/*/*/nvidia/cuda_nvcc/bin/ptxas"; then
    return 0
  fi
  python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check nvidia-cuda-nvcc-cu12
}

# What cannot be installed is skipped by its test, which says what is missing.
offline() {
  say "compilers of GPU vendors, with no GPU"
  local vendor status
  for vendor in amd intel nvidia; do
    status=0
    tools/offline_check "$vendor" --share "$share" --jobs 1 --cache "$root/build-figures" || status=$?
    if [ "$status" = 77 ]; then skip "offline $vendor"; else tally "offline $vendor" [ "$status" = 0 ]; fi
  done
}

cross_build() {
  say "a cross build for Windows"
  local status=0
  tools/windows.sh || status=$?
  if [ "$status" = 77 ]; then skip "cross build: made, but not run"; else tally "cross build" [ "$status" = 0 ]; fi
}

under_oclgrind() {
  say "under Oclgrind"
  wait_for built
  tally "Oclgrind finds no race and no overrun" tests/tools/oclgrind.sh "$build/tools/clmla" \
    "$build"/tests/kernel/check_{attend,attend_heads,attend_matrix,attend_matrix_ring,attend_tile,attend_sparse,attend_absorb,merge,project,rms_norm,rope,absorb,output,append,gather,copy_pages,convert_rows,move_rows,shift,plan} \
    "$build/tests/tools/check_baseline"
}

# What the tests on the CPU's driver can do without, installed while these are built and run.
install_extras() {
  local vendor
  say "installing what further devices and compilers need"
  tools/setup.sh "${extras[@]}" || return 1
  if $all_devices; then install_intel "$root/.venv-intel" || true; fi
  if $offline; then
    for vendor in amd intel nvidia; do tools/setup.sh "offline-$vendor" || true; done
    install_ptxas >/dev/null || true
  fi
  echo "installed at $SECONDS s"
}

# Marks in a folder of this run's own say how far the work beside the tests has come: reach NAME, wait_for NAME.
reach() { touch "$beside_folder/$1"; }

wait_for() {
  while ! [ -e "$beside_folder/$1" ]; do
    [ -e "$beside_folder/over" ] && return 1
    sleep 1
  done
}

# What needs none of the tests' results, and neither device that they run on: beside them, as those leave processors idle. In
# a log of its own that is shown when it is done.
beside_job=
beside() {
  beside_folder=$(mktemp -d)
  (
    trap 'reach over' EXIT
    passed=0 failed=0 skipped=0
    install_extras || failed=1
    reach extras
    if $windows; then cross_build; fi
    if $offline; then offline; fi
    if $all_devices; then under_oclgrind; fi
    if $fuzz; then say "fuzzing"; tally "fuzzing for $fuzz_seconds s finds no crash" tests/fuzz/run.sh "$fuzz_seconds"; fi
    echo "$passed $failed $skipped" >"$beside_folder/counts"
    echo "done at $SECONDS s"
  ) >"$beside_folder/log" 2>&1 &
  beside_job=$!
}

join_beside() {
  local p f s
  wait "$beside_job" || true
  cat "$beside_folder/log"
  if ! read -r p f s <"$beside_folder/counts"; then p=0 f=1 s=0; echo "FAIL  what ran beside the tests left no counts"; fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  rm -rf "$beside_folder"
}

all_devices=false sanitize=false windows=false offline=false fuzz=false full_verify=false short_form=0 share=1 fuzz_seconds=60
for argument in "$@"; do
  case $argument in
    --all-devices) all_devices=true ;;
    --sanitize) sanitize=true ;;
    --windows) windows=true ;;
    --offline) offline=true ;;
    --fuzz) fuzz=true ;;
    --full-verify) full_verify=true ;;
    --short) short_form=1 share=16 fuzz_seconds=15 ;;
    --help | -h) sed -n '3,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tools/check.sh: unknown option '$argument'" >&2; exit 2 ;;
  esac
done

# The short forms leave out what the tests on PoCL have shown and what takes other drivers long: faults at every call, vectors
# narrower than the device's, instructions that OpenCL C stands for.
if [ "$short_form" = 1 ]; then
  intel_suites=(--suite kernel --suite layer --suite short --no-suite narrow --no-suite portable --no-suite many_programs)
  sanitize_suites=(--suite unit --suite api)
  pocl_without=(--no-suite full)
else
  intel_suites=(--no-suite unit --no-suite oclgrind --no-suite meta --no-suite offline)
  sanitize_suites=(--suite unit --suite host --suite api --suite kernel --suite layer)
  pocl_without=()
fi

extras=()
$all_devices && extras+=(oclgrind mesa venv)
$windows && extras+=(windows)
$fuzz && extras+=(fuzz)
tools/setup.sh
if $all_devices || $windows || $offline || $fuzz; then beside; fi
make_build "$build" || { [ -z "$beside_job" ] || kill "$beside_job"; exit 1; }
[ -z "$beside_job" ] || reach built
on_pocl
if $all_devices; then
  on_intel
  on_rusticl
fi
if $sanitize; then sanitized; fi
if $full_verify; then
  say "every combination of clmla verify"
  tally "full product" env OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd tests/tools/verify_matrix.sh "$build/tools/clmla"
fi

[ -z "$beside_job" ] || join_beside

printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
