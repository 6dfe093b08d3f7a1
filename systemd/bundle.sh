#!/usr/bin/env bash
# Writes one file with everything that install.sh needs where there is no network: the program with its models, every
# package it depends on, checksums, and install.sh itself.
#
#   systemd/bundle.sh DIR                                     for this machine's kind and this Python
#   EXTRAS='[gpu]' systemd/bundle.sh DIR                      with pycuda, on the Jetson or a machine like it
#   systemd/bundle.sh DIR --platform manylinux_2_28_aarch64 --python-version 3.11      for another
set -euo pipefail

target=${1:?systemd/bundle.sh DIR [--platform P --python-version V]}
shift
PYTHON=${PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pip=("$PYTHON" -m pip --disable-pip-version-check --quiet)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$target" "$scratch/wheels"

SOURCE_DATE_EPOCH=315532800 "${pip[@]}" wheel --no-deps --wheel-dir "$scratch/wheels" "$(dirname "$here")"
wheel=$(echo "$scratch"/wheels/sicklescope-*.whl)
if [ $# -gt 0 ]; then
    "${pip[@]}" download --only-binary=:all: "$@" --dest "$scratch/wheels" "$wheel${EXTRAS:-}"
    for_what=$(printf '%s' "$*" | sed -E 's/--python-version /py/; s/--platform //g; s/ /-/g')
else
    "${pip[@]}" wheel --wheel-dir "$scratch/wheels" "$wheel${EXTRAS:-}"
    for_what=$("$PYTHON" -c 'import platform, sys; print("%s-py%d.%d" % (platform.machine(), *sys.version_info[:2]))')
fi

name=$(basename "$wheel" | cut -d- -f1,2)-$for_what
mkdir "$scratch/$name"
mv "$scratch/wheels" "$scratch/$name/wheels"
mkdir "$scratch/$name/systemd"
cp -r "$here"/install.sh "$here"/sicklescope.service "$here"/sicklescope.toml "$here"/sysusers.conf "$here"/hardware \
    "$scratch/$name/systemd/"
(cd "$scratch/$name" && find wheels systemd -type f -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS)
tar -C "$scratch" -czf "$target/$name.tar.gz" "$name"
echo "$target/$name.tar.gz: $(du -h "$target/$name.tar.gz" | cut -f1)," \
    "$(find "$scratch/$name/wheels" -name '*.whl' | wc -l) packages. On the device: tar xf, then sudo systemd/install.sh"
