"""Small disks that can lose their power, or be filled to the last page. They need root and loop devices."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

import pytest

from tests.mosquitto import wait_for

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN (linux/ext4.h): from now on nothing reaches the disk, as when the power goes."""

_NO_LOG_FLUSH = 2
"""Not even the journal's last transaction is written."""


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def _stopped(program: int) -> bool:
    """Whether a process is stopped, by the letter behind its name in brackets."""
    return Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class Disk:
    """An ext4 file system in a file, mounted while this is entered. Skips the test where it cannot be."""

    def __init__(self, folder: Path, megabytes: int = 32) -> None:
        self.root = folder / "disk"
        self._folder = folder
        self._image = folder / "disk-0.img"
        self._cuts = 0
        self._megabytes = megabytes

    def __enter__(self) -> Disk:
        self.root.mkdir()
        with self._image.open("wb") as image:
            image.truncate(self._megabytes << 20)
        try:
            _run("mkfs.ext4", "-q", "-F", self._image)
            self._mount()
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            pytest.skip(f"no disk of one's own can be mounted here (root and loop devices are needed): {error}")
        return self

    def _mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.root)

    def cut(self, *programs: int) -> None:
        """Take the power: what was not synced is gone, and every access fails from now on.

        Programs, by process number, stop first, as the power would stop them. Otherwise they could act on a lie: while
        the power is taken so (2 ms), ext4 answers some syncs with success though nothing was written (Linux 6.18, 3 of
        60 times). A synced result was seen to be published so and gone from the disk.
        """
        for program in programs:
            os.kill(program, signal.SIGSTOP)
            wait_for(partial(_stopped, program))
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def restore(self) -> None:
        """Give the power back; nobody may have a file open.

        What reached the disk is copied, and the copy mounted. A process that made a mount namespace of its own keeps
        the file system that was cut; the same file, mounted again, would give that one.
        """
        _run("umount", self.root)
        self._cuts += 1
        cut, self._image = self._image, self._folder / f"disk-{self._cuts}.img"
        _run("cp", "--sparse=always", cut, self._image)
        cut.unlink()
        self._mount()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", self.root)


class FullDisk:
    """A memory disk of some hundred pages, mounted while this is entered, that can be left any number of free pages."""

    PAGE = 4096

    def __init__(self, folder: Path, pages: int = 256) -> None:
        self.root = folder / "full"
        self._filler = self.root / "filler"
        self._pages = pages

    def __enter__(self) -> FullDisk:
        self.root.mkdir()
        size = f"size={self._pages * self.PAGE}"
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.root)], capture_output=True)
        if mounted.returncode:
            pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
        return self

    def leave(self, pages: int) -> None:
        """Fill it up but for so many pages."""
        self._filler.unlink(missing_ok=True)
        free = os.statvfs(self.root).f_bavail
        with suppress(OSError):  # a service that writes meanwhile takes a page first: it is full all the same
            self._filler.write_bytes(bytes(max(0, free - pages) * self.PAGE))
        assert os.statvfs(self.root).f_bavail <= pages

    def free(self) -> None:
        """Give all its space back."""
        self._filler.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", self.root)
