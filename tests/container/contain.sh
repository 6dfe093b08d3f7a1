#!/usr/bin/env bash
# The first process of new namespaces (see started.py): gives a root folder what a supervisor of containers gives it,
# and runs a command in it. The root cannot be written.
#
#   tests/container/contain.sh ROOT STATE SETTINGS COMMAND...
set -euo pipefail
root=$1 state=$2 settings=$3
shift 3
# read_only FOLDER PLACE
read_only() {
    mount --bind "$1" "$2"
    mount -o remount,bind,ro "$2"
}
read_only "$root" "$root"
read_only /sys "$root/sys" # ONNX Runtime reads there what the processor can
read_only "$settings" "$root/etc/sicklescope"
mount --bind "$state" "$root/var/lib/sicklescope"
mount -t proc proc "$root/proc"
mount -t tmpfs -o nosuid,nodev,noexec tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -m 1777 "$root/dev/shm"
exec chroot "$root" "$@"
