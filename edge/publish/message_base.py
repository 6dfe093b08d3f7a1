"""What every MQTT message begins with, and where it goes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

ROOT = "sicklescope/v1"

Count = Annotated[int, Field(ge=0)]
SampleCode = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""The clinic's own code for a sample, never a patient's name or number; empty outside a sample."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Message(BaseModel):
    """What every message begins with.

    Flat: each value is a text, a number, a boolean or null; no key is left out.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )

    kind: ClassVar[str]
    qos: ClassVar[Literal[0, 1]]
    retain: ClassVar[bool]
    added: ClassVar[tuple[str, ...]] = ()
    """Keys that came later than the format, which messages of earlier versions lack."""

    schema_: str = Field(alias="schema")
    """Name and version of this message's format."""
    ts_ms: Count
    """Wall time at which the message was made, milliseconds since 1970 UTC; to be believed if `clock_synchronised`."""
    clock_synchronised: bool
    """Whether the device's clock was set by NTP or the like when the message was made."""
    uptime_ms: Count
    """Milliseconds of the device's monotonic clock: orders the messages of one `boot_id`, whatever wall time does."""
    boot_id: str
    """Changes each time the device starts."""
    site: str
    """As in the topic."""
    device: str
    """As in the topic."""
    sample: SampleCode
    """The clinic's own code for the sample; empty outside a sample."""
    seq: Count
    """Orders the messages of one `boot_id`: begins at each start of the program with the milliseconds since boot, and
    counts its messages up by one from there; so a gap of few is a message that was dropped.
    """
    historical: bool = False
    """It left the device more than 10 s (of the monotonic clock) after it was made, or after the device was started
    again: it tells of then, not of now.
    """

    def to_json(self) -> str:
        """Return the payload as it is sent."""
        return self.model_dump_json(by_alias=True)


class Networks(Message):
    """The two networks that read the slide."""

    runtime: str
    """What runs the networks: backend, version and precision."""
    detector_name: str
    """Of the model, as its file says."""
    detector_version: str
    """Of the model, as its file says."""
    detector_sha256: Sha256
    """Digest of the model file."""
    classifier_name: str
    """Of the model, as its file says."""
    classifier_version: str
    """Of the model, as its file says."""
    classifier_sha256: Sha256
    """Digest of the model file."""


def topic(message: Message | type[Message], site: str, device: str) -> str:
    """Return `sicklescope/v1/<site>/<device>/<kind>`."""
    return f"{ROOT}/{site}/{device}/{message.kind}"
