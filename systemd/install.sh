#!/usr/bin/env bash
# Installs sicklescope as a service, upgrades it, goes back a version, or takes it away. docs/install.md explains it.
# Run it again at any time: what is there already stays. A configuration, a secret and data are never overwritten.
set -euo pipefail

usage() {
    cat <<'END'
systemd/install.sh [install | rollback | uninstall] [options]

  install                 install, or upgrade to, the version beside this script (the default)
  rollback                go back to the version before
  uninstall               take programs and unit away; configuration, results and the user stay
  --hardware KIND         cpu, raspberry-pi, jetson or nvidia; else as before, else found out
  --even-if-doctor-fails  keep the new version though its `doctor` finds something missing
  --root DIR              install below DIR; nothing of it is run (for images, and to look at what it does)
  --dry-run               only print what would be done

Beside this script lies either a checkout of the repository (needs the network), or, unpacked from what `make bundle`
wrote, a folder wheels/ with SHA256SUMS (needs none).
END
}

action=install hardware="" root="" dry_run="" keep_anyway="" made="" scratch=""
while [ $# -gt 0 ]; do
    case "$1" in
        install | rollback | uninstall) action=$1 ;;
        --hardware) hardware=${2:?--hardware needs a kind}; shift ;;
        --root) root=${2:?--root needs a folder}; root=${root%/}; shift ;;
        --dry-run) dry_run=yes ;;
        --even-if-doctor-fails) keep_anyway=yes ;;
        -h | --help) usage; exit 0 ;;
        *) echo "unknown: $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=$root/opt/sicklescope
etc=$root/etc/sicklescope
units=$root/etc/systemd/system
PYTHON=${PYTHON:-python3}

die() { echo "install.sh: $*" >&2; exit 1; }
say() { echo "== $*"; }

# Everything that changes something goes through here.
run() {
    if [ -n "$dry_run" ]; then printf 'would run:'; printf ' %q' "$@"; printf '\n'; else "$@"; fi
}

# systemctl, where a systemd runs that is ours to speak to.
control() {
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then run systemctl "$@"; fi
}

leave() { if [ -n "$scratch" ]; then rm -rf "$scratch"; fi; }
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# One at a time. Whatever a run that was killed left at work, such as `doctor`, holds the lock until it ends.
lock() {
    if [ -n "$dry_run" ]; then return; fi
    mkdir -p "${root:-/opt}"
    exec 9< "${root:-/opt}"
    flock --timeout 60 9 || die "another install.sh is at work, or what it began. Wait for it, or end it"
}

# Stops the service. However this script ends then, also by SIGKILL, the service is started again.
stop() {
    # systemctl fails for a unit that it does not know: before the first installation there is nothing to stop.
    if [ -z "$root" ] && [ -e "$units/sicklescope.service" ]; then
        if [ -z "$dry_run" ]; then
            setsid sh -c "tail --pid=$$ -s 0.2 -f /dev/null; systemctl start --no-block sicklescope.service" \
                < /dev/null > /dev/null 2>&1 &
        fi
        control stop sicklescope.service
    fi
}

# Puts a file in its place in one step, which a power cut leaves done or undone.
put() {
    run install -D -m "$1" "$2" "$3.new"
    run sync "$3.new"
    run mv -T "$3.new" "$3"
}

# Runs a command as the service's user, who owns what it writes.
as_user() { runuser -u sicklescope -- "$@"; }

find_hardware() {
    local before=$home/current/systemd/10-hardware.conf
    if [ -n "$hardware" ]; then :
    elif [ -L "$before" ]; then hardware=$(basename "$(readlink "$before")" .conf)
    elif [ -e /etc/nv_tegra_release ]; then hardware=jetson
    elif grep -qs "Raspberry Pi" /proc/device-tree/model; then hardware=raspberry-pi
    elif [ -e /proc/driver/nvidia/version ]; then hardware=nvidia
    else hardware=cpu
    fi
    [ -f "$here/hardware/$hardware.conf" ] || die "no hardware '$hardware'; known: cpu, raspberry-pi, jetson, nvidia"
}

check_python() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
        || die "$PYTHON is not there or older than 3.10. Install Python 3.10 or newer, or name one: PYTHON=python3.11"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null \
        || die "$PYTHON makes no environments. Debian, Ubuntu: apt-get install python3-venv"
}

# Sets `wheel`, the program itself: out of the bundle, whose checksums must be right, or built from the checkout.
find_wheel() {
    if [ -d "$here/../wheels" ]; then
        bundle=$(cd "$here/.." && pwd)
        (cd "$bundle" && sha256sum --check --strict --quiet SHA256SUMS) \
            || die "the bundle is damaged: its files differ from SHA256SUMS. Copy it again"
        wheel=$(echo "$bundle"/wheels/sicklescope-*.whl)
    else
        bundle=""
        scratch=$(mktemp -d)
        say "building the program from $(dirname "$here")"
        # The same source gives the same file, whenever it is built.
        SOURCE_DATE_EPOCH=315532800 "$PYTHON" -m pip --disable-pip-version-check --quiet wheel --no-deps \
            --wheel-dir "$scratch" "$(dirname "$here")" || die "the program cannot be built, see above. Is there a network?"
        wheel=$(echo "$scratch"/sicklescope-*.whl)
    fi
    [ -f "$wheel" ] || die "no sicklescope wheel in $(dirname "$wheel")"
    # The packages are part of it: a bundle of the same program with a newer one is another version.
    version=$(basename "$wheel" | cut -d- -f2)-$(cat "$(dirname "$wheel")"/*.whl | sha256sum | cut -c1-8)
}

make_user() {
    run install -D -m 644 "$here/sysusers.conf" "$root/etc/sysusers.d/sicklescope.conf"
    run systemd-sysusers ${root:+--root="$root"} sicklescope.conf
}

# give OWNER FILE: gives a file or folder to the service's user, or with an owner of root to its group alone. Below a
# root the numbers are those of its own /etc/passwd. Only root can.
give() {
    local user group
    user=$(awk -F: '$1 == "sicklescope" {print $3}' "$root/etc/passwd" 2>/dev/null || true)
    group=$(awk -F: '$1 == "sicklescope" {print $4}' "$root/etc/passwd" 2>/dev/null || true)
    if [ "$1" = root ]; then user=0; fi
    if [ "$(id -u)" -ne 0 ]; then say "not root, so not given to the service's user: $2"
    else run chown -R "${user:-sicklescope}:${group:-sicklescope}" "$2"
    fi
}

make_configuration() {
    run install -d -m 755 "$etc"
    run install -d -m 700 "$etc/credentials"
    if [ ! -e "$etc/sicklescope.toml" ]; then
        # In its place only when the service can read it: what is there is never changed again.
        run install -m 640 "$here/sicklescope.toml" "$etc/sicklescope.toml.new"
        give root "$etc/sicklescope.toml.new"
        run mv -T "$etc/sicklescope.toml.new" "$etc/sicklescope.toml"
    fi
    grep -o '^LoadCredential=[^:]*' "$here/sicklescope.service" | cut -d= -f2 | while read -r secret; do
        if [ ! -e "$etc/credentials/$secret" ]; then
            run install -m 600 /dev/null "$etc/credentials/$secret"
        fi
    done
    run install -d -m 750 "$root/var/lib/sicklescope"
    # A command that root gave before may have left files of root's there.
    give sicklescope "$root/var/lib/sicklescope"
}

# A certificate for the page, for other devices than this one; a given one stays. Whoever joins compares its fingerprint.
make_certificate() {
    local tls=$etc/tls name
    if [ -e "$tls/key.pem" ]; then return; fi
    command -v openssl > /dev/null || { say "no openssl, so no certificate for the page: docs/page.md"; return; }
    name=$(uname -n | cut -d. -f1)
    run install -d -m 750 "$tls"
    run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$name" \
        -addext "subjectAltName=DNS:$name,DNS:$name.local" -keyout "$tls/key.pem.new" -out "$tls/certificate.pem" \
        2> /dev/null
    run chmod 640 "$tls/key.pem.new" "$tls/certificate.pem"
    run mv -T "$tls/key.pem.new" "$tls/key.pem"
    give root "$tls"
}

# An environment that is whole has a file .whole; one that was cut short is made anew.
make_environment() {
    if [ -e "$new/.whole" ]; then say "$version is installed already"; return; fi
    say "installing $version into $new"
    local options=()
    # JetPack's TensorRT, and the Raspberry Pi's picamera2 and libcamera, are the system's packages.
    case $hardware in jetson | raspberry-pi) options+=(--system-site-packages) ;; esac
    run rm -rf "$new"
    run "$PYTHON" -m venv "${options[@]}" "$new"
    local pip=("$new/bin/python" -m pip --disable-pip-version-check --quiet install)
    if [ -n "$bundle" ]; then pip+=(--no-index --find-links "$bundle/wheels"); fi
    # pycuda is built against the CUDA that is here; a bundle has it where it was made on such a machine.
    local extra=""
    case $hardware in jetson | nvidia)
        if [ -z "$bundle" ] || compgen -G "$bundle/wheels/pycuda-*" > /dev/null; then extra="[gpu]"; fi ;;
    esac
    run "${pip[@]}" "$wheel$extra" || die "the packages cannot be installed, see above; nothing was changed"
    if [ -n "$root" ]; then
        # What lies below a root now will lie elsewhere: the commands find their Python beside themselves.
        local beside="'''exec' \"\$(dirname \"\$(readlink -f \"\$0\")\")/python\" \"\$0\" \"\$@\""
        run sed -i -e "1s|^#!/.*python.*|#!/bin/sh\n$beside\n' '''|" -e "2s|^'''exec' .*|$beside|" "$new"/bin/sicklescope*
    fi
    # What the unit needs travels with its version, so that going back brings it back too.
    run install -d "$new/systemd"
    run cp "$here/sicklescope.service" "$here/hardware/$hardware.conf" "$new/systemd/"
    run ln -sfn "$hardware.conf" "$new/systemd/10-hardware.conf"
    run sync --file-system "$new"
    run touch "$new/.whole"
    made=yes
}

# Runs `doctor` of the new version as the service's user. The service has stopped, for a camera has one user at a time.
doctor() {
    if [ -n "$dry_run" ]; then echo "would run: $new/bin/sicklescope doctor"; return; fi
    if [ -n "$root" ]; then say "not run below a root: this machine is not the device"; return; fi
    COLUMNS=120 as_user "$new/bin/sicklescope" doctor --config "$etc/sicklescope.toml"
}

# Makes a version the one that runs, in one step that a power cut leaves done or undone.
switch_to() {
    run ln -sfn "$1" "$home/current.new"
    run mv -T "$home/current.new" "$home/current"
    put 644 "$home/$1/systemd/sicklescope.service" "$units/sicklescope.service"
    put 644 "$home/$1/systemd/10-hardware.conf" "$units/sicklescope.service.d/10-hardware.conf"
    if [ "$(readlink "$home/$1/systemd/10-hardware.conf" 2>/dev/null)" = nvidia.conf ]; then
        # What is not there when the unit starts is not allowed to it.
        run install -d "$root/etc/modules-load.d"
        run sh -c "echo nvidia-uvm > '$root/etc/modules-load.d/sicklescope.conf'"
    fi
    run install -d "$root/usr/local/bin"
    run ln -sfn -t "$root/usr/local/bin" /opt/sicklescope/current/bin/sicklescope{,-calibrate}
    control daemon-reload
}

# Makes a version current and the one that was current previous. A kill at any line leaves a note, by which the next
# run of this script finishes what was begun; `previous` is never the version that runs.
change_version() {
    local from
    from=$(readlink "$home/current" || true)
    if [ -n "$from" ] && [ "$from" != "$1" ]; then
        run sh -c "echo '$from $1' > '$home/changing'"
        run sync "$home/changing"
        if [ "$(readlink "$home/previous")" = "$1" ]; then run rm "$home/previous"; fi
    fi
    switch_to "$1"
    if [ -n "$from" ] && [ "$from" != "$1" ]; then run ln -sfn "$from" "$home/previous"; fi
    run rm -f "$home/changing"
}

finish_change() {
    local from to
    if [ -n "$dry_run" ] || [ ! -s "$home/changing" ]; then return; fi
    read -r from to < "$home/changing"
    if [ "$(readlink "$home/current")" = "$to" ]; then
        say "finishing the change to ${to#versions/}, which was cut short"
        switch_to "$to"
        run ln -sfn "$from" "$home/previous"
    elif [ ! -L "$home/previous" ]; then
        run ln -sfn "$to" "$home/previous"
    fi
    run rm -f "$home/changing"
}

start() {
    control enable --quiet sicklescope.service
    # Not waited for: in safe mode it stays `activating`, and says why in `systemctl status`.
    control restart --no-block sicklescope.service
}

remove_old() {
    local kept version
    kept=" $(readlink "$home/current") $(readlink "$home/previous" || true) "
    for version in "$home"/versions/*; do
        case $kept in *" versions/$(basename "$version") "*) ;; *) run rm -rf "$version" ;; esac
    done
}

install_version() {
    find_hardware
    check_python
    find_wheel
    new=$home/versions/$version
    local old
    old=$(readlink "$home/current" || true)
    make_user
    make_configuration
    make_certificate
    make_environment
    stop
    say "what doctor of $version finds"
    if ! doctor && [ -z "$keep_anyway" ]; then
        if [ -n "$old" ] && [ "$old" != "versions/$version" ]; then
            if [ -n "$made" ]; then run rm -rf "$new"; fi
            start
            die "doctor of the new version finds something missing, see above: ${old#versions/} goes on.
Mend it and run this again, or add --even-if-doctor-fails"
        fi
        say "something is missing, see above; the service starts all the same, and says so to the broker"
    fi
    change_version "versions/$version"
    start
    if [ -z "$dry_run" ]; then remove_old; fi
    say "sicklescope $version is installed. Configuration: $etc/sicklescope.toml; log: journalctl -u sicklescope"
}

# An older version cannot read what a newer one made of the database: the copy from before the upgrade is put back.
restore_database() {
    local older=$home/$1/bin/sicklescope newer=$home/$2/bin/sicklescope code=0 results
    if [ -n "$dry_run" ] || [ ! -e "$root/var/lib/sicklescope/sicklescope.sqlite3" ]; then return; fi
    if [ -n "$root" ]; then die "a database lies below $root, which only its device can bring back. Roll back there"; fi
    as_user "$older" sample list --limit 1 --config "$etc/sicklescope.toml" > /dev/null 2>&1 || code=$?
    # 7: it refuses the database. Another failure, such as of the configuration, is not the database's.
    if [ "$code" -ne 7 ]; then return; fi
    results=/var/lib/sicklescope/results-since-upgrade-$(date +%Y%m%dT%H%M%S).jsonl
    as_user "$newer" restore --before-upgrade "$results" --config "$etc/sicklescope.toml" \
        || die "the database cannot be brought back, see above; ${2#versions/} goes on"
}

rollback() {
    local previous current
    previous=$(readlink "$home/previous") || die "there is no version before to go back to"
    current=$(readlink "$home/current")
    stop
    restore_database "$previous" "$current"
    change_version "$previous"
    start
    say "went back to ${previous#versions/}"
}

uninstall() {
    if [ -e "$units/sicklescope.service" ]; then control disable --now sicklescope.service; fi
    run rm -rf "$home" "$units/sicklescope.service" "$units/sicklescope.service.d/10-hardware.conf"
    run rm -f "$root"/usr/local/bin/sicklescope{,-calibrate} "$root/etc/modules-load.d/sicklescope.conf"
    control daemon-reload
    say "programs and unit are gone. Kept: $etc, $root/var/lib/sicklescope (results), the user sicklescope"
}

if [ -z "$root$dry_run" ] && [ "$(id -u)" -ne 0 ]; then die "needs root: sudo $0 $action"; fi
lock
finish_change
case $action in
    install) install_version ;;
    rollback) rollback ;;
    uninstall) uninstall ;;
esac
