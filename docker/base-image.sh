#!/bin/sh
# A base image of Debian packages alone, for places that reach no container registry.
#
#   docker/base-image.sh [NAME]          NAME: code-sandboxes-base by default
#   docker build -t code-sandboxes-jupyter:latest --build-arg BASE_IMAGE=NAME -f docker/Dockerfile .
#
# SUITE and MIRROR choose another Debian. Needs root and debootstrap.
set -eu
name=${1:-code-sandboxes-base}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
    "$suite" "$root" "$mirror"
# nothing that only an installation needs
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/var/log/*
printf '%s\n' 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
    > "$root/etc/dpkg/dpkg.cfg.d/no-documentation"
tar -C "$root" --one-file-system --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* -c . |
    docker import --change 'CMD ["/bin/sh"]' - "$name"
