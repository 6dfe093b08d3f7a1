"""The camera protocol: what every source of frames does."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, runtime_checkable

from edge.errors import InputError
from edge.types import Frame, Rejection


class RejectedInputError(InputError):
    """One file among those to be read cannot be.

    A camera that raises it goes on with the next file at the next `read`.

    name: the file's path. rejection: how it is counted, `unreadable` or `too_large`.
    """

    def __init__(self, message: str, name: str, rejection: Rejection) -> None:
        super().__init__(message)
        self.name = name
        self.rejection = rejection


@runtime_checkable
class Camera(Protocol):
    """A source of frames. A context manager: entering opens the hardware, leaving closes it.

    `read` blocks until the next frame and returns None when the source has come to its end (a replay, a virtual
    slide's path); a live camera has none. A file that cannot be read must not end a run: `read` raises
    RejectedInputError for it, the caller counts it as a rejected frame by the error's `rejection`, and reads on.
    A live camera raises CameraError when no frame comes within the configured deadline; the next `read` opens it anew,
    and raises CameraError too while that cannot be done. `open_camera` sees to this, and to `camera.frames`: a live
    camera's own class is used in its process only, ends with its first CameraError, and reads without end.
    The frame's pixels are the receiver's to keep: they are read-only and never written again.
    """

    name: str
    """What an operator would call it, with the size and rate it truly gives."""

    live: bool
    """True where frames that nobody takes are lost (newest wins); False where the source waits."""

    def __enter__(self) -> Camera: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end."""
        ...
