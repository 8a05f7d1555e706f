#!/bin/sh
# head.sh TEXT HEAD LINES: the first lines of a text file.
set -eu
head -n "$3" "$1" > "$2"
