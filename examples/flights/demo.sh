#!/usr/bin/env bash
# The whole loop on the flights that left New York in 2013, from the business problem to retrained models
# in production. Ends by itself and leaves nothing running.
#   demo.sh path/to/rondo FOLDER
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rondo=$(realpath "$1")
mkdir -p "$2"
folder=$(cd "$2" && pwd)/flights

step() { printf '\n\033[1m%s\033[0m\n' "$1"; }

# A copy with a Git repository of its own: the checkout stays clean.
rm -rf "$folder"
mkdir "$folder"
cp -R "$here"/. "$folder"
rm -f "$folder/demo.sh"
cd "$folder"
git init -q
git add -A
git -c user.name=rondo -c user.email=rondo@localhost commit -q -m "flight delays"

step "1  The business problem"
"$rondo" status

step "2  Data: one version a month, each checked before it counts"
"$rondo" data add flights --until 2013-04-01
"$rondo" data add weather
"$rondo" data add planes
"$rondo" data diff flights

step "   A bad month is refused: the failing rules, sample rows, and nothing changes"
if "$rondo" data add flights --part bad/2013-04.csv; then
  echo "the bad month was not refused" >&2
  exit 1
fi

step "3  Prepare, train, evaluate, gate, register"
"$rondo" run

step "4  Nine months of live traffic: serve, monitor, retrain, promote"
"$rondo" replay

step "   The loop at a glance"
"$rondo" status

step "5  The report"
"$rondo" report

step "   Where one prediction came from"
"$rondo" trace "$("$rondo" monitor predictions --ids -n 1)"

printf '\nreport:  %s\nopen it: cd %s && %s up\n' "$folder/report.html" "$folder" "$rondo"
