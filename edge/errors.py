"""The one tree of errors that a person can meet. Each message says what was found, what was expected and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class EdgeError(Exception):
    """Root of every error that sicklescope raises on purpose."""

    exit_code = 1


class ConfigError(EdgeError):
    """The configuration cannot be used: unknown key, wrong value, or a file that is not there."""

    exit_code = 2


class InputError(EdgeError):
    """What was given to be read cannot be.

    No images in the folder, an unreadable path, a broken video.
    """

    exit_code = 3


class CameraError(EdgeError):
    """The camera is absent, gave something other than asked, or stopped giving frames."""

    exit_code = 4


class ModelError(EdgeError):
    """A model file is missing, damaged, swapped, or breaks its contract."""

    exit_code = 5


class RuntimeUnavailableError(EdgeError):
    """The named inference runtime is not installed or cannot run here."""

    exit_code = 5


class EngineError(EdgeError):
    """A TensorRT engine cannot be built or run.

    Too little memory, a driver that does not fit, a GPU that stopped.
    """

    exit_code = 5


class EngineRefusedError(EngineError):
    """An engine answers otherwise than ONNX Runtime with the same file.

    Its counts could not be trusted.
    """


class SampleError(EdgeError):
    """What was asked of a sample cannot be.

    Another is being scanned, its code was used today, there is none such.
    """

    exit_code = 8


class DamagedSampleError(SampleError):
    """What is stored of a sample is not what was written.

    It is shown and exported, and no result is made of it.
    """


class CommandError(EdgeError):
    """A command is malformed, not authenticated, or nobody is there to do it."""

    exit_code = 8


class BrokerError(EdgeError):
    """The MQTT broker refused the connection or the message."""

    exit_code = 6


class StorageError(EdgeError):
    """A file or the database cannot be written: disk full, no permission, damaged."""

    exit_code = 7


class LockedError(StorageError):
    """Another program holds the database longer than a write waits.

    Nothing is lost, and a later try may succeed.
    """


class BusyError(StorageError):
    """Another sicklescope works with the same folder, and speaks for the device."""


class TallyError(EdgeError):
    """Cells that were seen are neither counted nor excluded.

    A fault of the program, and no result may leave.
    """


def first_fault(error: ValidationError, whole: str) -> str:
    """Return where the first fault of a document lies, and what it is; never what was given.

    whole: what the document is called, where the fault is of no single key.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"
