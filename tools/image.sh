#!/bin/sh
# Build the image localhost/dfovsdb from this clone, with podman, buildah or docker:
#
#   tools/image.sh [ARGUMENT...]
#
# Further arguments are those of the build, such as --build-arg BASE=IMAGE.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

for program in podman buildah docker; do
    command -v $program >/dev/null || continue
    # what is not in git is no part of the image
    rm -rf build/image
    mkdir -p build/image
    git ls-files -z | tar --null -T - -cf - | tar -xf - -C build/image
    $program build -t localhost/dfovsdb -f packaging/container/Containerfile "$@" build/image
    rm -rf build/image
    exit
done
echo "make image: install podman, buildah or docker" >&2
exit 1
