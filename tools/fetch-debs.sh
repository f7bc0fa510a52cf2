#!/bin/sh
# Unpack packages of this machine's distribution into a folder, installing nothing:
#
#   tools/fetch-debs.sh FOLDER PACKAGE...
#
# unpacks each PACKAGE and the libraries it needs that the machine lacks. apt reads the system's
# sources and keyrings, but keeps its lists, files and logs in .cache/apt, so it needs no rights
# and changes nothing outside the project.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

folder=$1
shift
apt=$PWD/.cache/apt
log=$apt/log

mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$folder"
rm -f "$apt"/archives/*.deb

# Read last (-c), so that it wins over the system's own settings:
# - hooks that others hang on `apt-get update` would work on the system's files;
# - apt's sandbox user could not write here, and only root may become that user.
cat >"$apt/apt.conf" <<EOF
#clear APT::Update;
APT::Sandbox::User "";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "$apt";
EOF
apt_get() {
    TMPDIR=$apt LC_ALL=C apt-get -q -c "$apt/apt.conf" "$@" 2>>"$log" </dev/null
}
give_up() {
    echo "setup: cannot fetch $1: $(grep -m1 '^E: ' "$log") $(grep -m1 '^W: Failed' "$log")" \
        "(apt's messages: .cache/apt/log)" >&2
    exit 1
}

# A source that cannot be read matters only if a package is missing for it, which shows below.
: >"$log"
apt_get update >>"$log" || true

# What installing would add. Only its libraries are wanted (and the openssl that ovs-pki calls):
# Python and the C library stay the machine's own.
apt_get --simulate --no-install-recommends install "$@" >"$apt/plan" || give_up "$1"
needed=$(sed -n 's/^Inst \(lib[^ ]*\|openssl\) .*/\1/p' "$apt/plan" |
    grep -Ev '^lib(c6|c-bin|python.*)$' || true)
# shellcheck disable=SC2086  # a word for each package
(cd "$apt/archives" && apt_get download "$@" $needed >>"$log") || give_up "$1"

for deb in "$apt"/archives/*.deb; do
    dpkg-deb -x "$deb" "$folder"
    rm "$deb"
done
