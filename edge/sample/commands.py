"""What people and programs may ask of a device: the commands, and their JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge.errors import CommandError
from edge.sample.store import HIGHEST_NUMBER

LONGEST_BYTES = 65536
"""Of a command."""

Words = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Who = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]
CellNumber = Annotated[int, Field(ge=0, le=HIGHEST_NUMBER, strict=False)]


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    by: Who
    """Who asks, as the clinic calls its staff; stored, never published."""


class Start(_Command):
    """Begin to scan a sample."""

    command: Literal["start"]
    sample: Name
    """Its code."""


class Stop(_Command):
    """End the scanning of the sample at hand."""

    command: Literal["stop"]


class _OfSample(_Command):
    sample: Name
    """Its identifier, or its code: then the newest with that code."""
    reason: Words = ""
    """Why; never a patient's name."""


class Discard(_OfSample):
    """Say that a sample is not to be used."""

    command: Literal["discard"]


class Reopen(_OfSample):
    """Bring a sample a step back.

    final → review, discarded → incomplete, review or incomplete → scanning.
    """

    command: Literal["reopen"]


class Review(_OfSample):
    """Say what cells are; `done` ends the review and publishes it."""

    command: Literal["review"]
    cells: dict[CellNumber, Name] = Field(default_factory=dict, max_length=5000)
    """Class by the cell's number."""
    done: bool = False


class Erase(_OfSample):
    """Erase all that is kept of a sample."""

    command: Literal["erase"]


Command = Start | Stop | Discard | Reopen | Review | Erase

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])

Answer = dict[str, Any]
"""What came of a command: flat, for JSON."""


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
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise CommandError(f"the command cannot be read: {where}: {first['msg']}. See docs/sample.md") from error
