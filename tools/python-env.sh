#!/bin/sh
# Make .venv/, the project's Python environment, or bring it up to date:
#
#   tools/python-env.sh run     the project, editable, and what it imports
#   tools/python-env.sh web     the same, and what serves the page
#   tools/python-env.sh test    the same, and what tests and linters need
#   tools/python-env.sh bench   the project and its peers, in an environment of their own
#
# It is silent when there is nothing to do. Nothing is installed outside .venv and .venv-bench.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

level=$1
venv=.venv
[ "$level" != bench ] || venv=.venv-bench
stamp=$venv/setup-done
log=.cache/python-env.log

say() {
    echo "setup: $*" >&2
}

die() {
    say "$*"
    exit 1
}

# The interpreter tells where it really is, as python3 may be a shim, or that of .venv itself.
python=
for name in python3 python3.11 python3.12 python3.13; do
    python=$("$name" -c 'import os, sys
assert sys.version_info >= (3, 11)
print(os.path.realpath(sys._base_executable))' 2>/dev/null) && break
    python=
done
[ "$python" ] || die "Python 3.11 or newer is needed, and is not on PATH:" \
    "install it (Debian 12, Ubuntu 24.04 and later: python3) and try again"

# $venv is valid for one interpreter and one place (its scripts name both), and for the content of
# the files that say what is in it.
base="$("$python" -V) $python $PWD"
content=$(cat requirements.txt test-requirements.txt benchmarks/requirements.txt constraints.txt \
    setup.cfg pyproject.toml tools/python-env.sh | cksum)
done_base=
done_content=
done_level=
if [ -x $venv/bin/python ] && [ -f $stamp ]; then
    { read -r done_base && read -r done_content && read -r done_level; } <$stamp || true
fi
if [ "$base $content" = "$done_base $done_content" ]; then
    case "$done_level" in "$level" | test) exit ;; web) [ "$level" != run ] || exit 0 ;; esac
fi

{ [ -w . ] && mkdir -p .cache && cp /dev/null $log; } 2>/dev/null || die "cannot write in $PWD"

# The user's pip settings hold, but for those that would install elsewhere.
export PIP_USER=0
unset PIP_TARGET PIP_PREFIX PIP_ROOT

# The stamp is written last: without it, $venv is an attempt that was cut short.
fresh=
trap '[ -f $stamp ] || [ ! "$fresh" ] || rm -rf $venv' EXIT
trap 'exit 130' INT TERM HUP
if [ "$base" != "$done_base" ]; then
    # Debian keeps pip for new environments (ensurepip) apart from Python, in python3-venv.
    wheel=
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        { "$python" -c 'import venv' && command -v apt-get; } >/dev/null 2>&1 ||
            die "$python cannot make environments: install python3-venv and try again"
        [ -e /etc/ssl/certs/ca-certificates.crt ] ||
            die "Debian's pip needs package ca-certificates: install it and try again"
        say "pip (package python3-pip-whl, as there is no python3-venv) -> .cache/python3-pip-whl/"
        rm -rf .cache/python3-pip-whl
        tools/fetch-debs.sh .cache/python3-pip-whl python3-pip-whl
        wheel=$(echo .cache/python3-pip-whl/usr/share/python-wheels/pip-*.whl)
    fi
    say "environment of $("$python" -V) -> $venv/"
    fresh=yes
    rm -rf $venv
    if [ "$wheel" ]; then
        "$python" -m venv --without-pip $venv &&
            $venv/bin/python "$wheel/pip" install --no-index --no-deps "$wheel"
    else
        "$python" -m venv $venv
    fi >>$log 2>&1 || die "$python -m venv failed: $(tail -n1 $log)"
fi
rm -f $stamp

pip_install() {
    $venv/bin/python -m pip --disable-pip-version-check install -c constraints.txt "$@" \
        >>$log 2>&1 </dev/null && return
    # After the last attempt to connect, what pip calls the error is only what followed from it.
    offline=$(sed -n "s/.*(total=0.*connection broken by '\(.*[^'\")]\)['\")]*: .*/\1/p" $log |
        tail -n1)
    [ ! "$offline" ] ||
        die "pip cannot reach the package index: ${offline##*>: } (its messages: $log)"
    die "pip failed: $(grep '^ERROR: ' $log | tail -n1) (its messages: $log)"
}

# Built with the pinned setuptools here, not with whatever pip would fetch to build with.
if [ "$level" = test ]; then
    say "packages of requirements.txt and test-requirements.txt, dfovsdb (editable) -> $venv/"
    set -- -r test-requirements.txt \
        -e '.[dragonflow,http,nats,oslo-messaging,tui,webhook]'
elif [ "$level" = web ]; then
    say "packages of requirements.txt, dfovsdb[http] (editable) -> $venv/"
    set -- -e '.[http]'
elif [ "$level" = bench ]; then
    say "packages of requirements.txt and benchmarks/requirements.txt, dfovsdb (editable) -> $venv/"
    set -- -r benchmarks/requirements.txt -e .
else
    say "packages of requirements.txt, dfovsdb (editable) -> $venv/"
    set -- -e .
fi
pip_install setuptools wheel
pip_install --no-build-isolation "$@"

printf '%s\n' "$base" "$content" "$level" >$stamp
