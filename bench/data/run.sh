#!/usr/bin/env bash
# Versions of data: Rondo beside DVC and beside what the machine itself needs.
#   bench/data/run.sh [arguments of drive.py, such as --check --parts small]
#   PEERS= bench/data/run.sh             # without DVC: nothing is installed
# DVC is installed from PyPI into target/bench-data; what is made there is removed at the end.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$root/target/bench-data
rondo=${RONDO:-$root/target/release/rondo}
[ -n "${RONDO:-}" ] || (cd "$root" && cargo build --release --locked)

arguments=(--rondo "$rondo" --folder "$home")
if [ -n "${PEERS-dvc}" ]; then
  if [ ! -e "$home/dvc/ready" ]; then
    rm -rf "${home:?}/dvc"
    mkdir -p "$home"
    if command -v uv > /dev/null; then
      uv venv --quiet "$home/dvc"
      uv pip install --quiet --python "$home/dvc/bin/python" dvc
    else
      "${PYTHON:-python3}" -m venv "$home/dvc"
      "$home/dvc/bin/python" -m pip install --quiet --disable-pip-version-check dvc
    fi
    touch "$home/dvc/ready"
  fi
  arguments+=(--dvc "$home/dvc/bin/dvc")
fi
exec "${PYTHON:-python3}" "$here/drive.py" "${arguments[@]}" "$@"
