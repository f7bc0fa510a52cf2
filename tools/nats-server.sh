#!/bin/sh
# Run a command with nats-server on its PATH:
#
#   tools/nats-server.sh [COMMAND [ARGUMENT...]]
#
# It is the machine's own if it has one. If not, the distribution's package is unpacked into
# .nats/: nothing is installed or started. Where it cannot be had, the tests that need it are
# skipped, and say so.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

fetch() {
    rm -rf .nats .cache/nats-server
    tools/fetch-debs.sh .cache/nats-server nats-server || return 1
    .cache/nats-server/usr/sbin/nats-server --version >/dev/null || return 1
    mv .cache/nats-server .nats
}

if ! command -v nats-server >/dev/null && command -v apt-get >/dev/null; then
    # Running it tells more than a file: .nats may come from another machine.
    if ! .nats/usr/sbin/nats-server --version >/dev/null 2>&1; then
        echo "setup: nats-server (package nats-server) -> .nats/" >&2
        fetch || echo "setup: without it the tests of the sink nats are skipped" >&2
    fi
    PATH=$PWD/.nats/usr/sbin:$PATH
fi

[ $# = 0 ] || exec "$@"
