#!/bin/sh
# Run a command with a Chromium without a screen on its PATH:
#
#   tools/chromium.sh [COMMAND [ARGUMENT...]]
#
# It is the machine's own if it has one. If not, the distribution's package is unpacked into
# .chromium/ (nothing is installed or started). Where it cannot be had, the tests that need it are
# skipped, and say so.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

program=chromium-headless-shell
stamp=$(cat tools/chromium.sh tools/wrap-programs.sh | cksum)

fetch() {
    rm -rf .chromium .cache/chromium
    tools/fetch-debs.sh .cache/chromium $program chromium-common \
        fontconfig-config fonts-dejavu-core libatomic1 || return 1
    # The package's own script knows only /usr/lib; and Chromium ends where there is no font.
    rm -f .cache/chromium/usr/bin/$program
    cat >.cache/chromium/fonts.conf <<'END'
<?xml version="1.0"?>
<fontconfig><dir prefix="relative">usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
END
    mkdir .cache/chromium/driver
    cp .cache/chromium/usr/lib/*/libatomic.so.1* .cache/chromium/driver
    tools/wrap-programs.sh .cache/chromium FONTCONFIG_FILE=fonts.conf $program
    echo "$stamp" >.cache/chromium/stamp
    mv .cache/chromium .chromium
}

if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null &&
    command -v apt-get >/dev/null; then
    # Running it tells more than a file: the folder may come from another machine.
    if [ "$(cat .chromium/stamp 2>/dev/null)" != "$stamp" ] ||
        ! .chromium/wrapped/$program --version >/dev/null 2>&1; then
        echo "setup: Chromium (package $program) -> .chromium/" >&2
        fetch || echo "setup: without it the tests of the page are skipped" >&2
    fi
    PATH=$PATH:$PWD/.chromium/wrapped
    LD_LIBRARY_PATH=$PWD/.chromium/driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}  # Playwright's
    export PATH LD_LIBRARY_PATH
fi

[ $# = 0 ] || exec "$@"
