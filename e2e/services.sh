#!/usr/bin/env bash
# Tests that start a service of their own. Each one that cannot run says why.
#   e2e/services.sh path/to/rondo [pytest arguments]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rondo=$(realpath "$1")
shift

# What the tests of pages and of provenance need beside the rest goes into the same environment, which run.sh
# makes.
"$here/run.sh" "$rondo" --version >/dev/null 2>&1 || "$here/run.sh" "$rondo" --version
venv="$(dirname "$here")/target/e2e-venv-$(cksum "$here/requirements.txt" | cut -d' ' -f1)"
for extra in web provenance; do
  ready="$venv/ready-$extra-$(cksum "$here/$extra/requirements.txt" | cut -d' ' -f1)"
  if [ ! -e "$ready" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/$extra/requirements.txt"
    touch "$ready"
  fi
done

# A system package, so only on a machine that is thrown away afterwards, and not without saying so.
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then
  if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "services.sh: CI is true and Chromium is missing: installing Debian's package chromium with apt-get" >&2
    apt-get update -qq >&2 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >&2 ||
      echo "services.sh: apt-get could not install chromium; the tests of the pages skip" >&2
  else
    echo "services.sh: Chromium is not installed: the tests of the pages skip; apt-get install chromium" >&2
  fi
fi

# Databases that are sources of data: the same conditions.
for need in postgres:postgresql mariadbd:mariadb-server; do
  if command -v "${need%%:*}" >/dev/null || ls /usr/lib/postgresql/*/bin/"${need%%:*}" >/dev/null 2>&1; then continue; fi
  if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "services.sh: CI is true and ${need#*:} is missing: installing it with apt-get" >&2
    apt-get update -qq >&2 &&
      DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${need#*:}" >&2 ||
      echo "services.sh: apt-get could not install ${need#*:}; its tests skip" >&2
  else
    echo "services.sh: ${need#*:} is not installed: its tests skip; apt-get install ${need#*:}" >&2
  fi
done

exec "$here/run.sh" "$rondo" -m service -rs "$@"
