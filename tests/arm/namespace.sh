#!/usr/bin/env bash
# Within the namespaces that tests/arm/run.sh makes: registers QEMU, and runs inside.sh in the root folder.
set -euo pipefail
folder=$1 root=$1/root
read -r < "$folder/mapped"
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || {
    echo "namespace.sh: Linux 6.7 or newer is needed, this is $(uname -r)" >&2
    exit 2
}
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
# F: opened now, so that it is found in the root folder too.
echo ":arm64:M::$magic:$mask:$PWD/$folder/qemu/usr/bin/qemu-aarch64:F" > /proc/sys/fs/binfmt_misc/register
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys" # ONNX Runtime reads there what the processor can
install -m 755 tests/arm/inside.sh "$root/trial/inside.sh"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 QEMU_CPU="$QEMU_CPU" chroot "$root" /trial/inside.sh
