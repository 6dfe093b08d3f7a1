"""A machine of its own to install on: its folders stand in the place of this machine's, in a namespace. Needs root.

Its systemctl is a stand-in that keeps what it was told.
The program installed there is a few lines of shell, and its environments are made without pip, so that a hundred
installations take a minute.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.systemd.install_parts import small_bundle

FOLDERS = {"opt": "/opt", "etc": "/etc", "lib": "/var/lib", "bin": "/usr/local/bin"}

PROGRAM = """#!/bin/sh
# The program of version {version}.
case "$1" in
doctor)
    touch /var/lib/sicklescope/in-doctor
    while [ -e /var/lib/doctor-waits ]; do sleep 0.05; done
    exit "$(cat /var/lib/doctor-code 2>/dev/null || echo 0)" ;;
sample) test ! "$(cat /var/lib/sicklescope/sicklescope.sqlite3)" ">" {version} || exit 7 ;;
restore) echo "{version} $*" > /var/lib/sicklescope/restored ;;
*) echo {version} ;;
esac
"""

PYTHON = """#!/bin/sh
# Makes environments, and installs the program into one.
for last; do :; done
case "$1 $2" in
"-c "*) ;;
"-m venv") mkdir -p "$last/bin" && cp "$0" "$last/bin/python" ;;
"-m pip") /usr/bin/python3 -m zipfile -e "$last" "$(dirname "$0")" && chmod 755 "$(dirname "$0")/sicklescope" ;;
esac
"""

SYSTEMCTL = """#!/bin/sh
# What systemctl does to one unit: it fails for a unit that is not there, as the true one does.
echo "$*" >> /var/lib/systemctl.log
running=/var/lib/running unit=/etc/systemd/system/sicklescope.service
wanted=/etc/systemd/system/multi-user.target.wants/sicklescope.service
case "$1" in
daemon-reload) exit 0 ;;
esac
[ -e $unit ] || exit 5
case "$1" in
start) [ -e $running ] || /opt/sicklescope/current/bin/sicklescope --version > $running ;;
restart) /opt/sicklescope/current/bin/sicklescope --version > $running ;;
stop) rm -f $running ;;
enable) mkdir -p "$(dirname $wanted)" && ln -sf $unit $wanted ;;
disable) rm -f $wanted $running ;;
esac
"""


def bundle(folder: Path, version: str) -> Path:
    """Write the bundle of a version of the program."""
    return small_bundle(folder, version, {"sicklescope": PROGRAM.format(version=version)}, "none:none")


class Machine:
    """Folders in the place of /opt, /etc, /var/lib and /usr/local/bin, and what is done with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lib, self.home = folder / "lib", folder / "opt/sicklescope"

    @classmethod
    def new(cls, folder: Path) -> Machine:
        """Make a machine on which nothing is installed yet. Skips the test where there can be none."""
        if os.geteuid() != 0 or shutil.which("systemd-sysusers") is None:
            pytest.skip("a machine of its own needs root, and systemd to be installed")
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
            pytest.skip("there are no mount namespaces here")
        for name in ("opt", "lib", "bin", "tools"):
            (folder / name).mkdir(parents=True)
        subprocess.run(["cp", "-a", "/etc", folder / "etc"], check=True)
        for name in ("passwd", "group", "shadow", "gshadow"):
            file = folder / "etc" / name
            kept = [line for line in file.read_text("utf-8").splitlines(True) if not line.startswith("sicklescope:")]
            file.write_text("".join(kept), "utf-8")
        for name, text in (("python", PYTHON), ("systemctl", SYSTEMCTL)):
            (folder / "tools" / name).write_text(text, "utf-8")
            (folder / "tools" / name).chmod(0o755)
        return cls(folder)

    def copy(self, folder: Path) -> Machine:
        """Return a machine that is as this one."""
        subprocess.run(["cp", "-a", self.folder, folder], check=True)
        return Machine(folder)

    def words(self, *line: object) -> list[str]:
        """Return a command that runs a command on this machine, under the same process identifier."""
        binds = "; ".join(f"mount --bind {self.folder}/{name} {where}" for name, where in FOLDERS.items())
        setup = f"mount --make-rprivate /; mount -t tmpfs tmpfs /run; {binds}; mkdir -p /run/systemd/system"
        tools = f"PATH={self.folder}/tools:$PATH PYTHON={self.folder}/tools/python"
        return ["unshare", "--mount", "sh", "-ec", f'{setup}; export {tools}; exec "$@"', "sh", *map(str, line)]

    def install(self, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        """Start the installer of a bundle."""
        # A shell cannot trap what was ignored when it began, as SIGINT is in a job of the background.
        line = [
            "env", "--default-signal=INT",
            *self.words("bash", folder / "systemd/install.sh", *arguments, "--hardware", "cpu"),
        ]  # fmt: skip
        pipe = subprocess.PIPE
        return subprocess.Popen(line, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def installed(self, folder: Path, *arguments: str) -> str:
        """Run the installer of a bundle to its end, which must be a good one, and return what it said."""
        process = self.install(folder, *arguments)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    def killed_at(self, number: int, folder: Path, *arguments: str) -> bool:
        """Run the installer and end it by SIGKILL before its step of that number; return whether it came so far."""
        script = folder / "systemd/install.sh"
        program = (
            "set -T; count=0; note() { case $BASH_COMMAND in 'run '*|'control '*|'as_user '*) count=$((count + 1)); "
            f'[ "$count" -ne {number} ] || kill -KILL $$ ;; esac; }}; trap note DEBUG; . {script} "$@"'
        )
        line = self.words("bash", "-c", program, script, *arguments, "--hardware", "cpu")
        return subprocess.run(line, capture_output=True, timeout=60).returncode == -signal.SIGKILL

    def boot(self) -> None:
        """Do what a start of the machine does: the unit starts where it is enabled."""
        (self.lib / "running").unlink(missing_ok=True)
        if (self.folder / "etc/systemd/system/multi-user.target.wants/sicklescope.service").is_symlink():
            subprocess.run(self.words("systemctl", "start", "sicklescope.service"), check=False)

    def running(self) -> str:
        """Return which version runs, or nothing."""
        file = self.lib / "running"
        return file.read_text("utf-8").strip() if file.exists() else ""

    def versions(self) -> tuple[str, str]:
        """Return which versions are current and previous, without their digests."""
        links = (self.home / "current", self.home / "previous")
        current, previous = (link.readlink().name.split("-")[0] if link.is_symlink() else "" for link in links)
        return current, previous

    def asked(self) -> set[str]:
        """Return what was asked of systemctl."""
        log = self.lib / "systemctl.log"
        return set(log.read_text("utf-8").splitlines()) if log.exists() else set()
