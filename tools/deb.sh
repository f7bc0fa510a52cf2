#!/bin/sh
# Build dist/dfovsdb_VERSION_ARCH.deb: the program with a Python environment of its own in
# /opt/dfovsdb, which no other package touches. The host needs no compiler and no package index.
#
#   tools/deb.sh
#
# The package is for hosts with the Python that /usr/bin/python3 is here (its dependencies say
# so), because some libraries are compiled for one version: build it on the release that it is for.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

python=/usr/bin/python3
root=build/deb
extras=http,nats,webhook,dragonflow,oslo-messaging,tui
log=.cache/deb.log

die() {
    echo "make deb: $*" >&2
    exit 1
}

command -v dpkg-deb >/dev/null || die "dpkg-deb is needed: build the package on Debian or Ubuntu"
[ -x $python ] || die "$python is needed: install the package python3"
minor=$($python -c 'import sys; print(sys.version_info[1])')
[ "$minor" -ge 11 ] || die "$python is Python 3.$minor; the package needs 3.11 or newer"
version=$(.venv/bin/python -c 'from dfovsdb.version import __version__; print(__version__)')
arch=$(dpkg --print-architecture)
site=$root/opt/dfovsdb/lib/python3.$minor/site-packages

rm -rf $root
mkdir -p "$site" $root/opt/dfovsdb/bin dist .cache

# An environment as `python3 -m venv` makes it, but for pip, and with the paths of the host.
cat >$root/opt/dfovsdb/pyvenv.cfg <<END
home = /usr/bin
include-system-site-packages = false
version = 3.$minor
executable = /usr/bin/python3.$minor
END
ln -s /usr/bin/python3.$minor $root/opt/dfovsdb/bin/python3
ln -s python3 $root/opt/dfovsdb/bin/python

# ovs and nkeys are published as source alone: their wheels are built here.
pip() {
    .venv/bin/python -m pip --disable-pip-version-check -q "$@" >>$log 2>&1 ||
        die "pip $1 failed; its messages are in $log"
}
: >$log
wheels=build/deb-wheels
rm -rf $wheels build/lib build/bdist.*
mkdir -p $wheels
pip wheel --no-deps --no-build-isolation -w $wheels .
pip wheel --no-deps -c constraints.txt -w $wheels ovs nkeys
pip install --target "$site" --python-version "3.$minor" --implementation cp \
    --only-binary :all: --no-compile -c constraints.txt --find-links $wheels \
    "$(echo $wheels/dfovsdb-*.whl)[$extras]"
rm -rf "$site/bin" $wheels dfovsdb.egg-info  # which would hide what is installed later
find "$site" -name tests -type d -path '*/zmq/*' -prune -exec rm -rf {} +

cat >$root/opt/dfovsdb/bin/dfovsdb <<'END'
#!/opt/dfovsdb/bin/python3
import sys

from dfovsdb.cli import main

sys.exit(main())
END
chmod 0755 $root/opt/dfovsdb/bin/dfovsdb

install -D -m 0644 contrib/dfovsdb.service $root/usr/lib/systemd/system/dfovsdb.service
install -D -m 0644 packaging/debian/ovsdb-server.conf \
    $root/usr/lib/systemd/system/ovsdb-server.service.d/dfovsdb.conf
install -D -m 0644 packaging/debian/dfovsdb.conf $root/etc/dfovsdb/dfovsdb.conf
install -D -m 0644 contrib/dfovsdb.logrotate $root/etc/logrotate.d/dfovsdb
install -D -m 0644 docs/dfovsdb.conf.sample $root/usr/share/doc/dfovsdb/dfovsdb.conf.sample
install -D -m 0644 LICENSE $root/usr/share/doc/dfovsdb/copyright
install -D -m 0644 CHANGELOG.md $root/usr/share/doc/dfovsdb/CHANGELOG.md
mkdir -p $root/usr/bin
ln -s /opt/dfovsdb/bin/dfovsdb $root/usr/bin/dfovsdb

# The manual page and the completions come from the parser of the command line.
mkdir -p $root/usr/share/man/man1 $root/usr/share/bash-completion/completions \
    $root/usr/share/zsh/vendor-completions
.venv/bin/python tools/cli_files.py man | gzip -9n >$root/usr/share/man/man1/dfovsdb.1.gz
.venv/bin/python tools/cli_files.py bash >$root/usr/share/bash-completion/completions/dfovsdb
.venv/bin/python tools/cli_files.py zsh >$root/usr/share/zsh/vendor-completions/_dfovsdb

mkdir -p $root/DEBIAN
for script in postinst prerm postrm; do
    install -m 0755 packaging/debian/$script $root/DEBIAN/$script
done
printf '%s\n' /etc/dfovsdb/dfovsdb.conf /etc/logrotate.d/dfovsdb >$root/DEBIAN/conffiles
size=$(du -sk --exclude=DEBIAN $root | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" \
    -e "s/@MINOR@/$minor/g; s/@NEXT@/$((minor + 1))/" packaging/debian/control >$root/DEBIAN/control

# Python writes its byte code at installation; what came along of ours is not shipped.
find $root -name __pycache__ -type d -prune -exec rm -rf {} +
chmod -R u=rwX,go=rX $root
dpkg-deb --root-owner-group -Zxz --build $root "dist/dfovsdb_${version}_$arch.deb" >>$log ||
    die "dpkg-deb failed; its messages are in $log"
echo "dist/dfovsdb_${version}_$arch.deb"
