"""A live camera in a process of its own: a read that hangs is ended by its deadline, and the next read begins anew."""

from __future__ import annotations

import logging
import math
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.camera.isolated_child import PACKET_MAX
from edge.errors import CameraError, EdgeError
from edge.types import Frame

if TYPE_CHECKING:
    from edge.camera.base import Camera
    from edge.config.model import CameraConfig

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
"""For Python and its libraries to be loaded, from the memory card of a busy small computer."""

CLOSE_S = 2.0
"""How long a camera may take to close before its process is killed; picamera2's `stop` can hang for ever."""


REMEDY = "Check its cable and power, or raise camera.read_timeout_s"


class IsolatedCamera:
    """The frames of a camera that `make` makes in a child process; `make` must be picklable.

    Entering begins the process and opens the camera in it. A read that fails, or exceeds `camera.read_timeout_s`, ends
    the process and raises CameraError; the next read begins another, and opens the camera anew. The process ends with
    the thread that began it, so one thread should open, read and close.
    """

    live = True

    def __init__(self, make: Callable[[], Camera], config: CameraConfig) -> None:
        self.name = f"{config.kind} camera {config.device}"
        self._make = make
        self._timeout_s = config.read_timeout_s
        self._frames = config.frames
        self._child: _Child | None = None
        self._index = 0

    def __enter__(self) -> IsolatedCamera:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def read(self) -> Frame | None:
        """Return the next frame; None only when `camera.frames` of them were given."""
        if self._index == self._frames:
            return None
        child = self._child or self._open()
        try:
            frame = child.frame(self._timeout_s)
        except BaseException:
            self._child = None
            child.kill()
            raise
        frame = replace(frame, index=self._index, name=f"{self.name}#{self._index}")
        self._index += 1
        return frame

    def _open(self) -> _Child:
        child = _Child(self._make, self.name)
        try:
            child.answer("begin its process", START_TIMEOUT_S, "Is the machine very busy?")
            self.name = child.answer("open", self._timeout_s, REMEDY)
        except BaseException:  # Ctrl-C too must not leave the device open
            child.kill()
            raise
        self._child = child
        return child


class _Child:
    """The process, the socket to it, and the memory it shares."""

    def __init__(self, make: Callable[[], Camera], name: str) -> None:
        self._name = name
        self._memory = mmap.mmap(-1, 1)
        self._wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Our own search path, so that it is this program's edge that is found, whatever the working folder has.
        begin = f"from edge.camera.isolated_child import main; main({theirs.fileno()}, {os.getpid()})"
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
                    [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {begin}"],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # a driver's chatter belongs to the log
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # a terminal's Ctrl-C is ours
                )
            except OSError as error:
                self._wire.close()
                raise CameraError(f"{name}: no process can be begun for it: {error}") from error
        self._ask(pickle.dumps(make))

    def frame(self, timeout_s: float) -> Frame:
        """Return the next frame, its pixels copied out of the shared memory."""
        self._ask(b"frame")
        frame: Frame
        frame, shape = self.answer("give a frame", timeout_s, REMEDY)
        pixels = np.frombuffer(self._memory, np.uint8, math.prod(shape)).reshape(shape).copy()
        pixels.setflags(write=False)
        return replace(frame, pixels=pixels)

    def _ask(self, packet: bytes) -> None:
        try:
            self._wire.send(packet)
        except OSError:
            return  # it has ended, and its last answer says why

    def answer(self, what: str, timeout_s: float, remedy: str) -> Any:
        """Return what the child answers; CameraError when it fails, ends, or says nothing in time."""
        self._wire.settimeout(timeout_s)
        try:
            packet, fds, _, _ = socket.recv_fds(self._wire, PACKET_MAX, 1)
        except TimeoutError as error:
            raise CameraError(f"{self._name} did not {what} within {timeout_s:g} s. {remedy}") from error
        except OSError:
            packet, fds = b"", []
        if not packet:
            raise CameraError(f"{self._name}: its process {self._end()}; what it said is in the log")
        for fd in fds:
            self._memory = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
            os.close(fd)
        answer = pickle.loads(packet)  # noqa: S301 - our own child's
        if isinstance(answer, EdgeError):
            raise answer
        return answer

    def close(self) -> None:
        """Let the camera close itself, and end the process."""
        self._wire.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            log.warning("%s did not close within %g s; its process is killed", self._name, CLOSE_S)
            self.kill()

    def kill(self) -> None:
        """End the process whatever it does.

        One that hangs in the kernel goes when its driver lets it.
        """
        self._wire.close()
        self._process.kill()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            log.error("%s hangs in its driver and cannot be ended. Unplug it, or restart the machine", self._name)

    def _end(self) -> str:
        """Return how the process ended, in words."""
        try:
            code = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
