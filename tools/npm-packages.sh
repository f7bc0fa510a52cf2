#!/bin/sh
# Run a command with packages of npm in .cache/npm, where there is an npm:
#
#   tools/npm-packages.sh [COMMAND [ARGUMENT...]]
#
# axe-core looks for what people who use a keyboard or a screen reader cannot use; pyright is a type
# checker. Where they cannot be had, the tests that need them are skipped, and say so.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

fetch() { # NAME
    rm -rf ".cache/npm/$1"
    mkdir -p ".cache/npm/$1"
    (cd ".cache/npm/$1" && npm pack --silent "$1" >/dev/null 2>&1 && tar xzf ./*.tgz && rm ./*.tgz)
}

if command -v npm >/dev/null; then
    for name in axe-core pyright; do
        [ ! -d ".cache/npm/$name/package" ] || continue
        echo "setup: $name (package of npm) -> .cache/npm/" >&2
        fetch $name || echo "setup: without $name a test is skipped" >&2
    done
fi

[ $# = 0 ] || exec "$@"
