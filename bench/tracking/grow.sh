#!/usr/bin/env bash
# The same figures on a fresh store and on one that has grown.
#   bench/tracking/grow.sh RUNS POINTS [FOLDER]   FOLDER is kept and used again; else target/bench-tracking/grown-RUNS
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
runs=$1 points=$2
folder=${3:-$root/target/bench-tracking/grown-$runs}
cd "$root"
cargo build --release --locked
if [ ! -e "$folder/grown" ]; then
  mkdir -p "$folder"
  cargo run --release --locked -p rondo-store --example grow -- "$folder" "$runs" "$points" 10
  touch "$folder/grown"
fi
du -sh "$folder"
"${PYTHON:-python3}" "$here/drive.py" --rondo target/release/rondo --servers rondo --store "$folder" --experiment 1 ${DRIVE:-}
