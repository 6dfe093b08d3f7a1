"""The process that owns a live camera: its driver may hang, or crash, and takes nothing else with it.

It is begun by `edge.camera.isolated` and talks to it alone: one packet asks for a frame, one answers, and the pixels
lie in one piece of shared memory without a name, which the kernel frees with the two processes, however they end.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported with the camera: the signals come first
    from edge.camera.base import Camera
    from edge.types import Pixels

PACKET_MAX = 65536
"""No answer is as long: pixels do not travel in packets."""

STARTED = "started"
"""The first answer, before the camera is opened: from here on its driver may take its time, not Python."""

PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def main(wire_fd: int, parent: int) -> None:
    """Open the camera of the first packet and answer each further one with a frame.

    Until none comes.

    What fails is the last answer. Ctrl-C and SIGTERM are the parent's to obey: the sample may want its last frames.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with(parent)
    with socket.socket(fileno=wire_fd) as wire:
        make: Callable[[], Camera] = pickle.loads(wire.recv(PACKET_MAX))  # noqa: S301 - our own parent's
        from edge.errors import EdgeError

        wire.send(pickle.dumps(STARTED))
        try:
            with make() as camera:
                wire.send(pickle.dumps(camera.name))
                _serve(camera, wire)
        except EdgeError as error:
            wire.send(pickle.dumps(error))


def _serve(camera: Camera, wire: socket.socket) -> None:
    slot = _Slot()
    while wire.recv(PACKET_MAX):
        frame = camera.read()
        if frame is None:
            return
        fds = slot.put(frame.pixels)
        about = (replace(frame, pixels=frame.pixels[:0, :0].copy()), frame.pixels.shape)
        socket.send_fds(wire, [pickle.dumps(about)], fds)
        for fd in fds:
            os.close(fd)


class _Slot:
    """The shared memory, as large as the largest frame so far.

    One frame suffices: the next is asked for when this one was taken out.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def put(self, pixels: Pixels) -> list[int]:
        """Write a frame; return the descriptor of the memory where it is another than before."""
        fds = []
        if len(self._memory) < pixels.nbytes:
            fds.append(os.memfd_create("sicklescope-frame"))
            os.ftruncate(fds[0], pixels.nbytes)
            self._memory = mmap.mmap(fds[0], pixels.nbytes)
        self._memory[: pixels.nbytes] = pixels.reshape(-1).data
        return fds


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that began it ends, even if a driver hangs then."""
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)) != 0 or os.getppid() != parent:
        os._exit(1)  # the parent ended before, or nobody would notice when it does
