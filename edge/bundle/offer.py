"""The message by which a programme offers a bundle to a device, and which share of the devices gets it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundle.manifest import SERIAL_MAX
from edge.config.model import Name, Sha256
from edge.errors import InputError, first_fault

OFFER_BYTES_MAX = 4096

BUNDLE_BYTES_MAX = 260 << 20
"""Two models, two reports and the manifest."""


class Offer(BaseModel):
    """A bundle that lies at `models.fetch_from`, by its file's name, size and digest.

    It is no proof of anything: what counts is the signature in the bundle.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, use_attribute_docstrings=True)

    schema_: Literal["sicklescope/offer/1"] = Field(default="sicklescope/offer/1", alias="schema")
    """Name and version of this message's format."""
    file: Name
    """Within models.fetch_from: no path."""
    serial: Annotated[int, Field(ge=1, le=SERIAL_MAX)]
    """Of the bundle; a device takes none older than its own."""
    bytes: Annotated[int, Field(ge=1, le=BUNDLE_BYTES_MAX)]
    """Size of the file."""
    sha256: Sha256
    """Of the whole file."""

    def to_json(self) -> str:
        """Return the payload as it is sent."""
        return self.model_dump_json(by_alias=True)


def parse_offer(payload: bytes) -> Offer | None:
    """Return an offer, or None for an empty payload, which withdraws it.

    Raises:
        InputError: It is anything else.
    """
    if not payload:
        return None
    if len(payload) > OFFER_BYTES_MAX:
        raise InputError(f"an offer of models has {len(payload)} bytes; at most {OFFER_BYTES_MAX} are read")
    try:
        return Offer.model_validate_json(payload)
    except ValidationError as error:
        raise InputError(f"an offer of models cannot be used: {first_fault(error, 'the message')}") from error


def place_of(site: str, device: str) -> float:
    """Return where in a roll-out a device stands, 0 to 1, always the same.

    It is in every share above that.
    """
    return int.from_bytes(hashlib.sha256(f"{site}/{device}".encode()).digest()[:8], "big") / 2**64
