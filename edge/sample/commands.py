"""What people and programs may ask of a device: the commands, and their JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from edge.errors import CommandError, first_fault
from edge.sample.store import HIGHEST_NUMBER
from edge.storage.result_numbers import HIGHEST_NUMBER as HIGHEST_RESULT

LONGEST_BYTES = 65536
"""Of a command."""

RESEND_MOST = 1000
"""Results that one command sends again: reading waits while they are put into the outbox."""

Words = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Who = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Request = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
ResultNumber = Annotated[int, Field(ge=1, le=HIGHEST_RESULT)]
CellNumber = Annotated[int, Field(ge=0, le=HIGHEST_NUMBER, strict=False)]


class _Command(BaseModel):
    # What was given may be a person's name, and errors are logged.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    by: Who
    """Who asks, as the clinic calls its staff; stored, never published."""
    request: Request = ""
    """Comes back in the reply over MQTT."""


class Start(_Command):
    """Begin to scan a sample."""

    command: Literal["start"]
    """What is asked."""
    sample: Name
    """Its code."""


class Stop(_Command):
    """End the scanning of the sample at hand."""

    command: Literal["stop"]
    """What is asked."""


class _OfSample(_Command):
    sample: Name
    """Its identifier, or its code: then the newest with that code."""
    reason: Words = ""
    """Why; never a patient's name."""


class Discard(_OfSample):
    """Say that a sample is not to be used."""

    command: Literal["discard"]
    """What is asked."""


class Reopen(_OfSample):
    """Bring a sample a step back.

    final → review, discarded → incomplete, review or incomplete → scanning.
    """

    command: Literal["reopen"]
    """What is asked."""


class MissedCell(BaseModel):
    """A cell that the detector missed, on the picture of a field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    field: CellNumber
    """Number of a field of which a picture is kept."""
    x: Annotated[float, Field(ge=0, le=1)]
    """Part of the picture's width."""
    y: Annotated[float, Field(ge=0, le=1)]
    """Part of the picture's height."""
    class_name: Name


class Review(_OfSample):
    """Say what cells are, take answers back, note; `done` signs the sample.

    Signing publishes and locks it.
    """

    command: Literal["review"]
    """What is asked."""
    cells: dict[CellNumber, Name] = Field(default_factory=dict, max_length=5000)
    """Class by the cell's number."""
    undo: list[CellNumber] = Field(default_factory=list, max_length=5000)
    """Cells whose answer is taken back."""
    missed: list[MissedCell] = Field(default_factory=list, max_length=500)
    """Cells that the detector missed."""
    unmark: list[CellNumber] = Field(default_factory=list, max_length=500)
    """Numbers of marks of missed cells that are taken back."""
    note: Words = ""
    """On the sample; never a patient's name."""
    reading: Literal["first", "second", "third"] = "first"
    """first: the review that counts. second: another person's, blind to it. third: settles where the two differ."""
    done: bool = False


class Erase(_OfSample):
    """Erase all that is kept of a sample."""

    command: Literal["erase"]
    """What is asked."""


class Resend(_Command):
    """Send results again to the broker, though it took them long ago."""

    command: Literal["resend"]
    """What is asked."""
    first: ResultNumber
    """Number of the first of them."""
    last: ResultNumber
    """Number of the last of them."""

    @model_validator(mode="after")
    def _is_a_short_range(self) -> Resend:
        if not 0 <= self.last - self.first < RESEND_MOST:
            raise ValueError(f"first and last are no range of 1 to {RESEND_MOST} results")
        return self


Command = Start | Stop | Discard | Reopen | Review | Erase | Resend

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])

_Made = TypeVar("_Made", bound=_Command)

Answer = dict[str, Any]
"""What came of a command: flat, for JSON."""


_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


def request_of(text: str) -> str:
    """Return what a text calls its request, though the rest may be no command; else nothing."""
    try:
        return _REQUEST.validate_python(json.loads(text).get("request", ""), strict=True)
    except (ValueError, AttributeError, RecursionError):
        return ""


def made(kind: type[_Made], **given: Any) -> _Made:
    """Return a command with what a form gave.

    Raises:
        CommandError: It cannot be; what was given is not repeated.
    """
    try:
        return kind.model_validate({"command": kind.__name__.lower(), **given})
    except ValidationError as error:
        raise CommandError(f"the form cannot be read: {first_fault(error, 'it')}. Load the page again") from None


def parse(text: bytes) -> Command:
    """Return the command that a JSON text gives.

    Raises:
        CommandError: The text gives none; it says why.
    """
    if len(text) > LONGEST_BYTES:
        raise CommandError(f"the command has {len(text)} bytes; at most {LONGEST_BYTES} are read")
    try:
        return _COMMANDS.validate_json(text)
    except ValidationError as error:
        raise CommandError(f"the command cannot be read: {first_fault(error, 'it')}. See docs/sample.md") from error
