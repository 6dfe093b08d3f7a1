#!/usr/bin/env bash
# Writes one file with everything that install.sh needs where there is no network: the program with its models, every
# package it depends on, checksums, and install.sh itself.
#
#   systemd/bundle.sh DIR                        for this kind of machine and this Python
#   systemd/bundle.sh DIR aarch64 3.11           for another (x86_64 or aarch64, and its Python)
#   EXTRAS='[gpu]' systemd/bundle.sh DIR         with pycuda, on the Jetson or a machine like it
set -euo pipefail

target=${1:?systemd/bundle.sh DIR [MACHINE PYTHON-VERSION]}
machine=${2:-}
python_version=${3:-}
[ -z "$machine" ] || [ -n "$python_version" ] || { echo "bundle.sh: which Python does it have? 3.11, say" >&2; exit 2; }
PYTHON=${PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pip=("$PYTHON" -m pip --disable-pip-version-check --quiet)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$target" "$scratch/wheels"

SOURCE_DATE_EPOCH=315532800 "${pip[@]}" wheel --no-deps --wheel-dir "$scratch/wheels" "$(dirname "$here")"
wheel=$(echo "$scratch"/wheels/sicklescope-*.whl)
if [ -n "$machine" ]; then
    platforms=(--platform "manylinux2014_$machine")
    # Up to the C library of Debian 12 and Raspberry Pi OS; JetPack 6 has 2.35.
    for minor in $(seq 17 35); do platforms+=(--platform "manylinux_2_${minor}_$machine"); done
    "${pip[@]}" download --only-binary=:all: "${platforms[@]}" --python-version "$python_version" \
        --dest "$scratch/wheels" "$wheel${EXTRAS:-}"
    for_what=$machine-py$python_version
else
    "${pip[@]}" wheel --wheel-dir "$scratch/wheels" "$wheel${EXTRAS:-}"
    for_what=$("$PYTHON" -c 'import platform, sys; print("%s-py%d.%d" % (platform.machine(), *sys.version_info[:2]))')
fi

name=$(basename "$wheel" | cut -d- -f1,2)-$for_what
mkdir "$scratch/$name"
mv "$scratch/wheels" "$scratch/$name/wheels"
mkdir "$scratch/$name/systemd"
cp -r "$here"/install.sh "$here"/sicklescope.service "$here"/sicklescope.toml "$here"/sysusers.conf "$here"/hardware \
    "$here"/browser-clock.conf "$scratch/$name/systemd/"
"${pip[@]}" install --target "$scratch/tools" 'cyclonedx-python-lib>=11,<12'
PYTHONPATH="$scratch/tools" "$PYTHON" "$here/bill_of_materials.py" "$scratch/$name/wheels" "$scratch/$name"
(cd "$scratch/$name" && find . -type f -printf '%P\0' | sort -z | xargs -0 sha256sum) > "$scratch/sums"
mv "$scratch/sums" "$scratch/$name/SHA256SUMS"
tar -C "$scratch" -czf "$target/$name.tar.gz" "$name"
echo "$target/$name.tar.gz: $(du -h "$target/$name.tar.gz" | cut -f1)," \
    "$(find "$scratch/$name/wheels" -name '*.whl' | wc -l) packages. On the device: tar xf, then sudo systemd/install.sh"
