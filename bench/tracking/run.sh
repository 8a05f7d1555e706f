#!/usr/bin/env bash
# Rondo beside FastTrackML and MLflow: the same driver, the same data, the same machine, sqlite under each.
#   bench/tracking/run.sh [arguments of drive.py, such as --rounds 1 --servers rondo,fasttrackml]
# What the peers need is installed from PyPI into target/bench-tracking.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$root/target/bench-tracking
rondo=${RONDO:-$root/target/release/rondo}
[ -n "${RONDO:-}" ] || (cd "$root" && cargo build --release --locked)

install() { # NAME REQUIREMENT: a virtual environment with one package
  if [ ! -e "$home/$1/ready" ]; then
    rm -rf "${home:?}/$1"
    "${PYTHON:-python3}" -m venv "$home/$1"
    "$home/$1/bin/python" -m pip install --quiet --disable-pip-version-check "$2"
    touch "$home/$1/ready"
  fi
}
case " $* " in
  *--servers*) servers=$* ;;
  *) servers=rondo,fasttrackml,mlflow ;;
esac
case $servers in *fasttrackml*) install fasttrackml fasttrackml==0.6.0 ;; esac
case $servers in *mlflow*) install mlflow mlflow==3.17.2 ;; esac

exec "${PYTHON:-python3}" "$here/drive.py" --rondo "$rondo" --fasttrackml "$home/fasttrackml/bin/fml" \
  --mlflow "$home/mlflow/bin/mlflow" --logs "$home/logs" "$@"
