#!/usr/bin/env bash
# Makes the environment of one version of the MLflow client, once; prints its Python.
#   e2e/clients/environments.sh 2.22.5
# Uses uv, which it fetches as a package where there is none. What autologging is tried with comes along:
# LightGBM, XGBoost, and Keras on JAX.
set -euo pipefail
version=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
requirements="$here/requirements-$version.txt"
venv="$root/target/e2e-clients-$version-$(cksum "$requirements" | cut -d' ' -f1)"
if [ ! -e "$venv/ready" ]; then
  uv=$(command -v uv || true)
  if [ -z "$uv" ]; then
    tools="$root/target/e2e-tools"
    [ -e "$tools/bin/uv" ] || { "${PYTHON:-python3}" -m venv "$tools" && "$tools/bin/python" -m pip install --quiet uv; } >&2
    uv="$tools/bin/uv"
  fi
  rm -rf "$venv"
  "$uv" venv --quiet --python "${PYTHON:-python3}" "$venv"
  "$uv" pip install --quiet --python "$venv/bin/python" -r "$requirements"
  touch "$venv/ready"
fi
echo "$venv/bin/python"
