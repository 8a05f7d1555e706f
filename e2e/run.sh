#!/usr/bin/env bash
# The end-to-end tests that need no service: the binary as a user meets it, with the real clients.
#   e2e/run.sh path/to/rondo [pytest arguments]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
rondo=$(realpath "$1")
shift
venv="$root/target/e2e-venv-$(cksum "$here/requirements.txt" | cut -d' ' -f1)"
if [ ! -e "$venv/ready" ]; then
  rm -rf "$venv"
  "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  touch "$venv/ready"
fi
RONDO="$rondo" exec "$venv/bin/python" -m pytest "$here" -q -p no:cacheprovider "$@"
