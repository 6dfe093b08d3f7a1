"""What was read of one field: what a scan's journal keeps, and what its processes tell each other."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from edge.batch.annotate import GalleryCell
from edge.types import Change, FieldReading, Masked, Placement, Reason, Rejection, Scale


@dataclass(frozen=True, slots=True)
class FieldResult:
    """The reading of one field, and what its pixels were needed for.

    Attributes:
        reading: what was read.
        cause: why it could not be read, in words; None where its reason says it.
        readable: whether there was a picture.
        gallery: those of its cells that may be among the most sickle-like of the sample.
        drawn: the field with its cells outlined, as JPEG; None where nobody asked for it.
    """

    reading: FieldReading
    cause: str | None
    readable: bool
    gallery: tuple[GalleryCell, ...] = ()
    drawn: bytes | None = None


def encoded(result: FieldResult) -> bytes:
    """Return a result as one line of JSON, without what differs from run to run."""
    timeless = replace(result, reading=replace(result.reading, stage_ms={}))
    return json.dumps(timeless, default=_plain, separators=(",", ":")).encode()


def decoded(data: bytes) -> FieldResult:
    """Return the result of a line that `encoded` made."""
    found = json.loads(data, object_hook=_array_of)
    read = found["reading"]
    rejected, scale, placed = read["rejected"], read["scale"], read["placement"]
    reading = FieldReading(
        **{
            **read,
            "rejected": rejected and Rejection(Reason(rejected["reason"]), rejected["value"], rejected["limit"]),
            "scale": scale and Scale(**scale),
            "flags": tuple(read["flags"]),
            "placement": placed and Placement(**{**placed, "joined": tuple(map(tuple, placed["joined"]))}),
            "change": read["change"] and Change(**read["change"]),
            "masked": read["masked"] and Masked(**read["masked"]),
        }
    )
    gallery = tuple(GalleryCell(**{**cell, "picture": _bytes(cell["picture"])}) for cell in found["gallery"])
    drawn = None if found["drawn"] is None else _bytes(found["drawn"])
    return FieldResult(reading, found["cause"], found["readable"], gallery, drawn)


def _plain(value: Any) -> Any:
    """Return what JSON knows in place of a value that it does not know."""
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "shape": value.shape, "data": _text(value.tobytes())}
    if isinstance(value, bytes):
        return _text(value)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no place in a scan's journal")


def _array_of(found: dict[str, Any]) -> Any:
    if found.keys() != {"dtype", "shape", "data"}:
        return found
    return np.frombuffer(_bytes(found["data"]), found["dtype"]).reshape(found["shape"])


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)
