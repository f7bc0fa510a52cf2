#!/bin/sh
# Run a command with the programs on its PATH that look at the files of contrib/:
#
#   tools/service-tools.sh COMMAND [ARGUMENT...]
#
# systemd-analyze and logrotate are the machine's own if it has them. If not, the distribution's
# packages are unpacked into .service-tools/ (nothing is installed or started). Where they cannot be
# had, the tests that need them are skipped, and say so.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

programs="systemd-analyze logrotate"
folder=.service-tools
stamp=$(cat tools/service-tools.sh tools/wrap-programs.sh | cksum)

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

have_all() {
    for program in $programs; do
        command -v "$program" >/dev/null || return 1
    done
}

fetch() {
    rm -rf $folder .cache/service-tools
    tools/fetch-debs.sh .cache/service-tools systemd logrotate || return 1
    # Where the package has its units differs: Debian 12 and 13.
    for units in usr/lib/systemd/system lib/systemd/system; do
        [ ! -d ".cache/service-tools/$units" ] || break
    done
    # shellcheck disable=SC2086  # a word for each program
    tools/wrap-programs.sh .cache/service-tools SYSTEMD_UNIT_PATH=$units $programs
    echo "$stamp" >.cache/service-tools/stamp
    mv .cache/service-tools $folder
}

if ! have_all && command -v apt-get >/dev/null; then
    # Running it tells more than a file: the folder may come from another machine.
    if [ "$(cat $folder/stamp 2>/dev/null)" != "$stamp" ] ||
        ! $folder/wrapped/logrotate --version >/dev/null 2>&1; then
        echo "setup: systemd-analyze and logrotate (packages systemd, logrotate) -> $folder/" >&2
        fetch || echo "setup: without them some tests of the service are skipped" >&2
    fi
    PATH=$PATH:$PWD/$folder/wrapped
fi

exec "$@"
