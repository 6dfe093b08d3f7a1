"""What a bundle says of itself: which models, which reports, and from which version on."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from edge.config.model import Name, Sha256

MODEL_BYTES_MAX, REPORT_BYTES_MAX = 128 << 20, 1 << 20
"""A part that says more is refused before anything of it is read."""

SERIAL_MAX = 2**53
"""Of a bundle; JSON of every language holds it."""

PARTS = (("detector", "model"), ("detector", "report"), ("classifier", "model"), ("classifier", "report"))
"""Role and kind of each part, in the order in which they lie in the file: a part has no name of its own."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Record):
    """One file within a bundle."""

    role: Literal["detector", "classifier"]
    kind: Literal["model", "report"]
    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MODEL_BYTES_MAX)]

    @model_validator(mode="after")
    def _reports_are_small(self) -> Part:
        if self.kind == "report" and self.bytes > REPORT_BYTES_MAX:
            raise ValueError(f"a report has at most {REPORT_BYTES_MAX} bytes")
        return self


class Manifest(_Record):
    """What is signed.

    serial: counts up from bundle to bundle of a programme; a device takes no lower one than it has.
    """

    schema_version: Literal[1] = 1
    name: Name
    serial: Annotated[int, Field(ge=1, le=SERIAL_MAX)]
    created: AwareDatetime
    minimum_version: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")]
    """Of sicklescope, for a device to take it."""
    parts: tuple[Part, ...]

    @model_validator(mode="after")
    def _parts_are_the_four(self) -> Manifest:
        if tuple((part.role, part.kind) for part in self.parts) != PARTS:
            raise ValueError(f"parts other than {', '.join(f'{role} {kind}' for role, kind in PARTS)}, in this order")
        return self

    def sha256_of(self, role: str) -> str:
        """Return the digest of the model of a role."""
        return next(part.sha256 for part in self.parts if (part.role, part.kind) == (role, "model"))

    def suits(self, version: str) -> bool:
        """Whether a version of sicklescope may take it."""
        return numbers_of(version) >= numbers_of(self.minimum_version)


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the three numbers that a version begins with."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(int(number) for number in found.groups()) if found else (0, 0, 0)
