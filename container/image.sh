#!/usr/bin/env bash
# Makes a container image of the device's program and the collector: Debian 12 with Python, and nothing that builds or
# fetches. Writes it into a folder as an archive that podman and docker load: `make image`. Needs mmdebstrap and buildah.
#
#   container/image.sh DIR             for this kind of machine
set -euo pipefail
target=${1:?container/image.sh DIR}
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
machine=$(uname -m)
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
pip=("$PYTHON" -m pip --disable-pip-version-check --quiet)
for needed in mmdebstrap buildah; do
    command -v "$needed" >/dev/null || { echo "image.sh: no $needed (apt-get install mmdebstrap buildah)" >&2; exit 2; }
done
scratch=$(mktemp -d)
container=
leave() {
    [ -z "$container" ] || buildah rm "$container" > "$scratch/said"
    rm -rf "$scratch"
}
trap leave EXIT
mkdir -p "$target"

# The program with everything it needs, as on a device, and what the collector needs beside it.
PYTHON=$PYTHON systemd/bundle.sh "$scratch" "$machine" 3.11 > "$scratch/said"
mkdir "$scratch/bundle"
tar -C "$scratch/bundle" --strip-components 1 -xf "$scratch"/sicklescope-*.tar.gz
wheels=$scratch/bundle/wheels
cp -r fleet "$scratch/fleet" # building leaves a folder beside the source
SOURCE_DATE_EPOCH=315532800 "${pip[@]}" wheel --no-deps --wheel-dir "$wheels" "$scratch/fleet"
"${pip[@]}" download --only-binary=:all: --platform "manylinux2014_$machine" --platform "manylinux_2_28_$machine" \
    --python-version 3.11 --find-links "$wheels" --no-deps --dest "$wheels" 'psycopg[binary]>=3.2' 'psycopg-binary>=3.2' \
    'prometheus-client>=0.20'
version=$(basename "$wheels"/sicklescope-*.whl | cut -d- -f2)

# shellcheck disable=SC2016 # mmdebstrap's own shell knows what $1 is: the root folder
mmdebstrap --quiet --variant=essential --include=python3,python3-venv,libstdc++6,ca-certificates,passwd \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook="copy-in '$wheels' '$scratch/bundle/bill-of-materials.cdx.json' '$scratch/bundle/THIRD-PARTY-NOTICES.txt' /opt" \
    --customize-hook='chroot "$1" sh -euc "
        python3 -m venv /opt/sicklescope
        /opt/sicklescope/bin/pip --disable-pip-version-check --no-cache-dir -q install --no-index --find-links /opt/wheels sicklescope sicklescope-fleet
        /opt/sicklescope/bin/pip --disable-pip-version-check -q uninstall --yes pip setuptools
        rm -r /opt/wheels
        useradd --uid 10001 --user-group --home-dir /var/lib/sicklescope --no-create-home sicklescope
        install -d -m 750 -o sicklescope -g sicklescope /var/lib/sicklescope
        install -d -m 755 /etc/sicklescope"' \
    bookworm "$scratch/root.tar" ${MIRROR:+"$MIRROR"} # Debian's own also has its security updates

container=$(buildah from --format docker scratch) # the other format has no health check
buildah add --quiet "$container" "$scratch/root.tar" / > "$scratch/said"
# A supervisor of containers has no watchdog: what hangs is told by the health check where it can be seen there.
buildah config --user 10001:10001 --workingdir /var/lib/sicklescope --volume /var/lib/sicklescope \
    --env PATH=/opt/sicklescope/bin:/usr/bin:/bin --env SICKLESCOPE_DEVICE__STATE_DIR=/var/lib/sicklescope \
    --env PYTHONUNBUFFERED=1 --env PYTHONFAULTHANDLER=1 --env PYTHONDONTWRITEBYTECODE=1 --env MALLOC_ARENA_MAX=2 \
    --cmd '["sicklescope", "run", "--keep-trying"]' --healthcheck 'CMD sicklescope status --check' \
    --healthcheck-interval 30s --healthcheck-timeout 20s --healthcheck-start-period 180s \
    --label org.opencontainers.image.title=sicklescope --label "org.opencontainers.image.version=$version" \
    --label org.opencontainers.image.licenses=Apache-2.0 "$container"
archive=$target/sicklescope-$version-image-$machine.tar
rm -f "$archive"
# localhost: a name that no registry can give.
buildah commit --quiet --format docker "$container" "docker-archive:$archive:localhost/sicklescope:$version" > "$scratch/said"
echo "$archive: $(du -h "$archive" | cut -f1). Load it: podman load --input $archive"
