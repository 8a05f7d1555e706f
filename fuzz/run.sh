#!/usr/bin/env bash
# Runs the fuzz targets with libFuzzer, on the stable toolchain.
#
#   fuzz/run.sh                      every target for a minute
#   fuzz/run.sh --seconds 600 csv    one for ten minutes
#   fuzz/run.sh csv FILE             one input again
#
# New inputs that reach new code are kept in target/fuzz/corpus; an input that is a fault is written to
# fuzz/regressions/TARGET, where the tests replay it from then on. Exit code 1 when there was one.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60
targets=()
input=
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=$2; shift 2 ;;
    -h|--help) sed -n '2,9s/^# \?//p' "$0"; exit 0 ;;
    -*) echo "unknown option: $1" >&2; exit 2 ;;
    *) if [ -f "$1" ] && [ ${#targets[@]} -eq 1 ]; then input=$(realpath "$1"); else targets+=("$1"); fi; shift ;;
  esac
done
all=$(sed -n 's/.*name: "\([a-z_]*\)", run:.*/\1/p' fuzz/src/lib.rs)
[ ${#targets[@]} -gt 0 ] || read -r -d '' -a targets <<< "$all" || true
for target in "${targets[@]}"; do
  grep -qx "$target" <<< "$all" || { echo "no target \`$target\`; there are: $(echo $all)" >&2; exit 2; }
done

# What tells the engine which code an input reaches: LLVM's own pass, which stable compilers carry too. A target
# triple is named so that build scripts and macros are not instrumented.
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks"
export CARGO_PROFILE_RELEASE_OPT_LEVEL=2 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
cargo build --quiet --locked --release -p rondo-fuzz --features libfuzzer --target "$triple" --target-dir target/fuzz
engine=target/fuzz/$triple/release/rondo-fuzz

failed=0
for target in "${targets[@]}"; do
  export RONDO_FUZZ_TARGET=$target
  if [ -n "$input" ]; then "$engine" "$input"; continue; fi
  corpus=target/fuzz/corpus/$target found=fuzz/regressions/$target
  mkdir -p "$corpus" "$found"
  echo "== $target" >&2
  # An input may take ten seconds and half a gigabyte, and no more.
  "$engine" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=512 -max_len=65536 \
    -print_final_stats=1 -verbosity=0 -artifact_prefix="$found/" \
    "$corpus" "fuzz/seeds/$target" "$found" || failed=1
  rmdir "$found" 2>/dev/null || true
done
exit $failed
