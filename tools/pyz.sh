#!/bin/sh
# Build one file that runs without installation, on hosts with this version of Python:
#
#   tools/pyz.sh [FILE]      (dist/dfovsdb.pyz)
#
# It holds the program and its libraries, and unpacks them once into ~/.shiv (SHIV_ROOT).
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

file=${1:-dist/dfovsdb.pyz}
mkdir -p "$(dirname "$file")"
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cp -r dfovsdb setup.cfg pyproject.toml requirements.txt README.md LICENSE "$source"
version=$(.venv/bin/python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
.venv/bin/shiv -o "$file" -c dfovsdb -p "/usr/bin/env $version" --compressed --quiet \
    --constraint constraints.txt "$source[http,nats,webhook,dragonflow,tui]"
ls "$file"
