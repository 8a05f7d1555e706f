#!/usr/bin/env bash
# 30 expectations on 1 M rows x 20 columns: Rondo beside Great Expectations, on one file and one suite.
#   bench/checks/run.sh [ROWS]
#   RONDO=path/to/rondo bench/checks/run.sh
# Great Expectations is installed by uv into target/bench-checks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$root/target/bench-checks
rows=${1:-1000000}
rondo=${RONDO:-$root/target/release/rondo}
[ -x "$rondo" ] || (cd "$root" && cargo build --release --locked)
mkdir -p "$home"
if [ ! -e "$home/gx/ready" ]; then
  uv venv -q "$home/gx"
  uv pip install -q --python "$home/gx/bin/python" "great-expectations==1.24.1" pyarrow
  touch "$home/gx/ready"
fi
python=$home/gx/bin/python
[ -e "$home/ref_$rows.parquet" ] || "$python" "$here/generate.py" "$home" "$rows" 2>/dev/null
"$python" "$here/suite.py" "$home/suite.json"
data=$home/ref_$rows.parquet
echo "== great expectations"
/usr/bin/time -f "%U user + %S system CPU s, %e s wall, %M kB" "$python" "$here/gx.py" "$home/suite.json" "$data" | cut -d" " -f1 | sort | uniq -c
echo "== rondo"
(cd "$home" && /usr/bin/time -f "%U user + %S system CPU s, %e s wall, %M kB" "$rondo" data check "$data" --suite suite.json | head -8 || true)
