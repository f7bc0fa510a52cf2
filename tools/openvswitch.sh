#!/bin/sh
# Run a command with Open vSwitch's programs on its PATH:
#
#   tools/openvswitch.sh [COMMAND [ARGUMENT...]]
#
# They are the machine's own if it has them. If not, the distribution's packages are unpacked into
# .ovs/ (nothing is installed or started), with a small script for each program in .ovs/wrapped.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

needed="ovsdb-server ovs-vswitchd ovs-vsctl ovsdb-client ovsdb-tool ovs-appctl ovs-ofctl"
stamp=$(cat tools/openvswitch.sh tools/wrap-programs.sh | cksum)

# The daemons are often not on a user's PATH, and Debian's ovs-vswitchd may be on nobody's.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/lib/openvswitch-switch
export PATH

say() {
    echo "setup: $*" >&2
}

die() {
    say "$*"
    exit 1
}

have_all() {
    for tool in $needed; do
        command -v "$tool" >/dev/null || return 1
    done
}

# Running it tells more than a file: .ovs may come from another machine.
usable() {
    [ "$(cat .ovs/stamp)" = "$stamp" ] && .ovs/wrapped/ovs-vswitchd --version
}

if ! have_all; then
    if ! usable >/dev/null 2>&1; then
        command -v apt-get >/dev/null ||
            die "no Open vSwitch here, nor apt-get to fetch it: install Open vSwitch and try again"
        say "Open vSwitch (openvswitch-switch, openvswitch-common and their libraries) -> .ovs/"
        new=.cache/openvswitch
        rm -rf .ovs $new
        tools/fetch-debs.sh $new openvswitch-switch openvswitch-common
        # shellcheck disable=SC2086  # a word for each program
        tools/wrap-programs.sh $new OVS_PKGDATADIR=usr/share/openvswitch $needed ovs-pki openssl
        PATH=$PWD/$new/wrapped:$PATH
        for tool in $needed; do
            "$tool" --version >/dev/null 2>.cache/error ||
                die "the $tool that was fetched does not run: $(head -n1 .cache/error)"
        done
        echo "$stamp" >$new/stamp
        mv $new .ovs
    fi
    PATH=$PWD/.ovs/wrapped:$PATH
    export OVS_PKGDATADIR="$PWD/.ovs/usr/share/openvswitch"
fi

[ $# = 0 ] || exec "$@"
