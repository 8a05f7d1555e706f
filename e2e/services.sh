#!/usr/bin/env bash
# Tests that start a service of their own. Each one that cannot run says why.
#   e2e/services.sh path/to/rondo
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/run.sh" "$1" -m service -rs
