#!/usr/bin/env bash
# Installs a bundle for ARM64 in a root of Debian 12 for ARM64, under QEMU, and reads with it: `make test-arm`.
# What was made below .arm/ is kept, also an installed version; remove the folder to begin anew. Needs root and Linux
# 6.7 or newer: there the programs of another machine are registered in a user namespace of their own, and the rest of
# the machine sees nothing.
#
#   FIELDS=folder tests/arm/run.sh     reads these pictures, else three that are drawn
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=.arm
python=${VENV:-.venv}/bin
cpu=${QEMU_CPU:-cortex-a72} # of the Raspberry Pi 4
mirror=${MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" -eq 0 ] || { echo "run.sh: only root can make a root folder: sudo make test-arm" >&2; exit 2; }
for needed in mmdebstrap mosquitto mosquitto_sub; do
    command -v "$needed" >/dev/null || { echo "run.sh: no $needed (apt-get install mmdebstrap mosquitto mosquitto-clients)" >&2; exit 2; }
done

# extract RELEASE ARCHITECTURE FOLDER PACKAGES...: unpacks packages, and what they need, and runs nothing of them.
extract() {
    local release=$1 architecture=$2 target=$3
    shift 3
    [ -e "$target/.whole" ] && return
    rm -rf "$target"
    mmdebstrap --quiet --mode=root --skip=check/qemu --variant=extract --architectures="$architecture" \
        "${@/#/--include=}" "$release" "$target" "$mirror"
    touch "$target/.whole"
}

mkdir -p "$folder"
# QEMU 7.2 of Debian 12 dies where ONNX Runtime 1.32 is imported; 10.0 of Debian 13 does not.
extract trixie amd64 "$folder/qemu" qemu-user
extract bookworm arm64 "$folder/root" '?essential' python3 python3-venv systemd libstdc++6
cp "$folder/root/usr/share/base-passwd/passwd.master" "$folder/root/etc/passwd"
cp "$folder/root/usr/share/base-passwd/group.master" "$folder/root/etc/group"
# What the packages' own scripts would write: without these runuser ends with "Critical error".
touch "$folder"/root/etc/pam.d/common-{auth,account,password,session}

trial=$folder/root/trial
rm -rf "$trial" "$folder/root/var/lib/sicklescope" && mkdir -p "$trial/bundle" "$trial/fields"
rm -f "$folder"/dist/*.tar.gz
PYTHON=$python/python systemd/bundle.sh "$folder/dist" aarch64 3.11
tar -xf "$folder"/dist/*.tar.gz --strip-components 1 -C "$trial/bundle"
if [ -n "${FIELDS:-}" ]; then cp "$FIELDS"/* "$trial/fields/"; else
    "$python/python" docs/images/render.py "$folder/drawn"
    cp "$folder"/drawn/field0[123].png "$trial/fields/"
fi

port=$("$python/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mosquitto -p "$port" > "$folder/mosquitto.log" 2>&1 &
broker=$!
trap 'kill "$broker" "${heard:-$broker}" 2>/dev/null || true' EXIT
for _ in $(seq 100); do mosquitto_pub -p "$port" -t started -n 2>/dev/null && break; sleep 0.1; done
mosquitto_sub -p "$port" -q 1 -t 'sicklescope/v1/+/+/result' -C 1 -W 7200 > "$folder/result.json" &
heard=$!
mkdir -p "$folder/root/etc/sicklescope"
cat > "$folder/root/etc/sicklescope/sicklescope.toml" <<END
[device]
site = "emulated"
device = "arm64"
state_dir = "/var/lib/sicklescope"
[camera]
kind = "virtual"
[mqtt]
host = "127.0.0.1"
port = $port
END

# A new user namespace is given the numbers of this one; only then can it register what runs ARM64 programs.
rm -f "$folder/mapped" && mkfifo "$folder/mapped"
QEMU_CPU=$cpu unshare --user --mount --pid --fork --kill-child tests/arm/namespace.sh "$folder" &
child=$!
while [ "$(readlink "/proc/$child/ns/user")" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.1; done
echo "0 0 65536" > "/proc/$child/uid_map"
echo "0 0 65536" > "/proc/$child/gid_map"
echo > "$folder/mapped"
wait "$child"

wait "$heard"
"$python/python" -m tests.arm.agreement "$trial/fields" "$trial/out/cells.csv" "$folder/result.json"
echo "QEMU $("$folder/qemu/usr/bin/qemu-aarch64" --version | head -1 | cut -d' ' -f3-), processor $cpu"
