#!/bin/sh
# Build one file that runs without installation, on hosts with this version of Python:
#
#   tools/pyz.sh [FILE]      (dist/dfovsdb.pyz)
#
# It holds the program and its libraries, and unpacks them once below ~/.cache/pex.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

file=${1:-dist/dfovsdb.pyz}
mkdir -p "$(dirname "$file")"
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cp -r dfovsdb setup.cfg pyproject.toml requirements.txt README.md LICENSE "$source"
version=$(.venv/bin/python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
.venv/bin/pex --constraints constraints.txt -o "$file" -c dfovsdb \
    --python-shebang "/usr/bin/env $version" \
    "$source[http,nats,webhook,dragonflow,tui]" >/dev/null
ls "$file"
