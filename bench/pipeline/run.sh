#!/usr/bin/env bash
# Rondo beside make, Snakemake and DVC: the same pipelines on the same machine.
#   bench/pipeline/run.sh [arguments of drive.py, such as --check --steps 100]
#   PEERS= bench/pipeline/run.sh         # beside make alone: nothing is installed
# What the peers need is installed from PyPI into target/bench-pipeline.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$root/target/bench-pipeline
rondo=${RONDO:-$root/target/release/rondo}
[ -n "${RONDO:-}" ] || (cd "$root" && cargo build --release --locked)

arguments=(--rondo "$rondo")
for peer in ${PEERS-snakemake dvc}; do
  if [ ! -e "$home/$peer/ready" ]; then
    rm -rf "${home:?}/$peer"
    "${PYTHON:-python3}" -m venv "$home/$peer"
    "$home/$peer/bin/python" -m pip install --quiet --disable-pip-version-check "$peer"
    touch "$home/$peer/ready"
  fi
  arguments+=("--$peer" "$home/$peer/bin/$peer")
done
exec "${PYTHON:-python3}" "$here/drive.py" "${arguments[@]}" "$@"
