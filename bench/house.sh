#!/usr/bin/env bash
# What the house itself costs: a clean release build (CPU seconds, size of the binary) and a `rondo run`
# in which nothing has changed (CPU seconds, median of 20).
#   bench/house.sh [FOLDER]   FOLDER: a project that has been run, such as target/demo/flights
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

cpu() { # user and system seconds of the children of a command
  python3 - "$@" <<'PY'
import os, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
times = os.times()
print(f"{times.children_user + times.children_system:.3f}")
PY
}

if [ -z "${SKIP_BUILD:-}" ]; then
  echo "clean release build: $(cpu cargo build --release --locked --target-dir target/bench-build) CPU s"
  echo "binary: $(stat -c %s target/bench-build/release/rondo) bytes"
  rondo=$root/target/bench-build/release/rondo
else
  rondo=$root/target/release/rondo
fi

folder=${1:-target/demo/flights}
cd "$folder"
for _ in $(seq 20); do cpu "$rondo" run; done | sort -n | awk '
  { seconds[NR] = $1 }
  END { printf "rondo run, nothing changed: median %s, worst %s CPU s of %d\n", seconds[int((NR + 1) / 2)], seconds[NR], NR }'
