#!/bin/sh
# Run a command with RabbitMQ's server and its Erlang on its PATH:
#
#   tools/rabbitmq.sh [COMMAND [ARGUMENT...]]
#
# They are the machine's own if it has them. If not, the distribution's packages are unpacked into
# .rabbitmq/ (nothing is installed or started), with a small script for each program in
# .rabbitmq/bin. Where they cannot be had, the tests that need them are skipped, and say so.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

needed="rabbitmq-server erl epmd"
stamp=$(cksum <tools/rabbitmq.sh)
erlang="erlang-base erlang-asn1 erlang-crypto erlang-eldap erlang-inets erlang-mnesia
    erlang-os-mon erlang-parsetools erlang-public-key erlang-runtime-tools erlang-ssl
    erlang-syntax-tools erlang-tools erlang-xmerl"

# Debian's rabbitmq-server on the PATH insists on a user of its own; the one behind it does not.
for folder in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin; do
    [ ! -d "$folder" ] || PATH=$folder:$PATH
done
PATH=$PATH:/usr/local/sbin:/usr/sbin
export PATH

have_all() {
    for tool in $needed; do
        command -v "$tool" >/dev/null || return 1
    done
}

# Running it tells more than a file: .rabbitmq may come from another machine.
runs() { # FOLDER
    "$1/bin/erl" -noinput -boot start_clean -eval 'application:ensure_all_started(ssl), halt().'
}

usable() {
    [ "$(cat .rabbitmq/stamp)" = "$stamp" ] && runs .rabbitmq
}

# Debian's scripts know only /usr/lib/erlang. exec keeps the pid the program's.
write_wrappers() { # FOLDER
    # shellcheck disable=SC2016  # $root is for the script to expand
    libs=$(cd "$1" && { echo ./usr/lib/. && find . -name '*.so.*'; } |
        sed 's|^\.\(.*\)/[^/]*$|$root\1|' | sort -u | paste -s -d :)
    erts=$(cd "$1" && echo usr/lib/erlang/erts-*/bin)
    server=$(cd "$1" && echo usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server)
    mkdir "$1/bin"
    for tool in $needed; do
        case $tool in
        erl) run="$erts/erlexec" ;;
        epmd) run="$erts/epmd" ;;
        *) run=$server ;;
        esac
        cat >"$1/bin/$tool" <<EOF
#!/bin/sh
root=\$(CDPATH='' cd -- "\${0%/*}/.." && pwd) || exit
export LD_LIBRARY_PATH="$libs\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export ROOTDIR="\$root/usr/lib/erlang" BINDIR="\$root/$erts" EMU=beam PROGNAME=erl
export PATH="\$root/bin:\$PATH"
exec "\$root/$run" "\$@"
EOF
        chmod +x "$1/bin/$tool"
    done
}

fetch() {
    new=.cache/rabbitmq
    rm -rf .rabbitmq $new
    # shellcheck disable=SC2086  # a word for each package
    tools/fetch-debs.sh $new rabbitmq-server $erlang || return 1
    write_wrappers $new
    runs $new || return 1
    echo "$stamp" >$new/stamp
    mv $new .rabbitmq
}

if ! have_all && command -v apt-get >/dev/null; then
    if ! usable >/dev/null 2>&1; then
        echo "setup: RabbitMQ (rabbitmq-server, what it needs of Erlang, and libraries)" \
            "-> .rabbitmq/" >&2
        fetch || echo "setup: without it the tests of the sink oslo_messaging are skipped" >&2
    fi
    PATH=$PWD/.rabbitmq/bin:$PATH
fi

[ $# = 0 ] || exec "$@"
