#!/bin/sh
# Run a command with nats-server on its PATH:
#
#   tools/nats-server.sh [COMMAND [ARGUMENT...]]
#
# It is the machine's own if it has one. If not, the distribution's package is unpacked into
# .nats/: nothing is installed or started.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

say() {
    echo "setup: $*" >&2
}

die() {
    say "$*"
    exit 1
}

if ! command -v nats-server >/dev/null; then
    # Running it tells more than a file: .nats may come from another machine.
    if ! .nats/usr/sbin/nats-server --version >/dev/null 2>&1; then
        command -v apt-get >/dev/null ||
            die "no nats-server here, nor apt-get to fetch it: install nats-server and try again"
        say "nats-server (package nats-server) -> .nats/"
        new=.cache/nats-server
        rm -rf .nats $new
        tools/fetch-debs.sh $new nats-server
        $new/usr/sbin/nats-server --version >/dev/null 2>.cache/error ||
            die "the nats-server that was fetched does not run: $(head -n1 .cache/error)"
        mv $new .nats
    fi
    PATH=$PWD/.nats/usr/sbin:$PATH
fi

[ $# = 0 ] || exec "$@"
