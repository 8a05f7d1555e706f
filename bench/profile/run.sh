#!/usr/bin/env bash
# Profiles beside ydata-profiling, on the same generated file of 1,000,000 rows and 20 columns.
#   bench/profile/run.sh [--large "1 2 4"]   # with gigabytes of Parquet that are made, profiled and removed
#   PEERS= bench/profile/run.sh              # without the peer
# The generator and the peer run in an environment that uv makes in target/bench-profile.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$root/target/bench-profile
rondo=${RONDO:-$root/target/release/rondo}
[ -n "${RONDO:-}" ] || (cd "$root" && cargo build --release --locked)

peers=${PEERS-ydata}
mkdir -p "$home"
venv=$home/venv-${peers:-none}
if [ ! -e "$venv/ready" ]; then
  packages=(numpy pyarrow)
  # The newest release needs a module that newer setuptools no longer have.
  [ -z "$peers" ] || packages+=("ydata-profiling==4.18.4" "setuptools<80")
  uv venv --quiet --clear --python 3.11 "$venv"
  uv pip install --quiet --python "$venv/bin/python" "${packages[@]}"
  touch "$venv/ready"
fi
exec "$venv/bin/python" "$here/drive.py" --rondo "$rondo" --folder "$home" ${peers:+--ydata} "$@"
