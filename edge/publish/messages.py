"""The wire contract: every MQTT message as a frozen model, its topic and its delivery; here those of the device.

`edge.cli.schemas` writes the JSON Schemas from the models in the table below.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from edge.publish.message_base import Count, Message, Networks
from edge.publish.result_messages import Progress, Rejections, Result, ResultIndex

_STAGE_KEY = r"^stage_[a-z0-9_]+_ms$"


class Status(Message):
    """Whether the device is there. Retained, sent on every connection.

    `offline` is sent by the broker (last will).
    """

    kind: ClassVar[str] = "status"
    qos: ClassVar[Literal[0, 1]] = 1
    retain: ClassVar[bool] = True

    schema_: Literal["sicklescope/status/1"] = Field(default="sicklescope/status/1", alias="schema")
    """Name and version of this message's format."""
    state: Literal["online", "offline", "stopped", "fault", "building"]
    """`offline`: the broker lost the device; the stamps are then of the connection's beginning. `stopped`: on purpose.
    `fault`: cannot read samples; stays if the program ends for it. `building`: makes TensorRT engines before it can
    read, which takes minutes; `reason` tells how far.
    """
    reason: str
    """Why, in words; empty when there is nothing to explain."""


class Birth(Networks):
    """What the device is made of. Retained, sent on every connection."""

    kind: ClassVar[str] = "birth"
    qos: ClassVar[Literal[0, 1]] = 1
    retain: ClassVar[bool] = True

    schema_: Literal["sicklescope/birth/1"] = Field(default="sicklescope/birth/1", alias="schema")
    """Name and version of this message's format."""
    sicklescope_version: str
    """Of the program."""
    python_version: str
    """That runs it."""
    classes: str
    """Names of the classes that are counted, joined with commas."""
    camera: str
    """The source of the frames, with the size and rate it gives."""
    um_per_px: Annotated[float, Field(gt=0)] | None
    """Configured or calibrated size of a camera pixel on the slide, µm; null when it is estimated for each sample."""
    command_challenge: str | None = None
    """To be carried by the next command; null: this device takes none over MQTT."""


class Telemetry(Rejections):
    """How the device is doing.

    The times of stages are `stage_<name>_ms`; which there are depends on the version.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"patternProperties": {_STAGE_KEY: {"type": "number"}}},
    )
    __pydantic_extra__: dict[str, float] = Field(init=False)

    kind: ClassVar[str] = "telemetry"
    qos: ClassVar[Literal[0, 1]] = 1
    retain: ClassVar[bool] = False

    added: ClassVar[tuple[str, ...]] = ("outbox_unheard", "certificate_ends_ms", "models_serial", "models_state")

    schema_: Literal["sicklescope/telemetry/1"] = Field(default="sicklescope/telemetry/1", alias="schema")
    """Name and version of this message's format."""
    fps: Annotated[float, Field(ge=0)]
    """Frames read or rejected in a second, since the last telemetry."""
    frames: Count
    """Frames taken from the camera since the program began."""
    frames_dropped: Count
    """Frames that nobody took since the program began, because a newer one had come."""
    outbox_pending: Count
    """Results that wait for the broker."""
    outbox_refused: Count
    """Results that the broker refused; kept until `sicklescope resend`."""
    outbox_unheard: Count
    """Results that the broker took while nobody subscribed; kept, and sent again by themselves."""
    messages_dropped: Count
    """Progress, telemetry and event messages that were never sent, since the program began."""
    rss_mb: Annotated[float, Field(ge=0)]
    """Resident memory of the program, MB."""
    temperature_c: float | None
    """Of the machine's hottest sensor; null where it has none."""
    throttling: str | None
    """What slows the machine down now, joined with commas: under_voltage, frequency_capped, throttled, heat."""
    throttled_before: str | None
    """What has slowed it down since it started, as throttling, and over_current; null where it does not tell."""
    power_mode: str | None
    """Of a Jetson (nvpmodel), such as MAXN; null elsewhere."""
    memory_available_mb: Annotated[float, Field(ge=0)] | None
    """Memory that programs can still have, MB."""
    disk_free_mb: Annotated[float, Field(ge=0)]
    """Free for what must not be lost, MB."""
    certificate_ends_ms: Count | None
    """When the device's certificate for the broker ends, milliseconds since 1970 UTC; null without one."""
    models_serial: Count | None
    """Serial of the bundle of models in use; null where none is."""
    models_state: str
    """`waiting`: for the end of the sample, or a control slide; `fetching`; `refused: …`; else empty."""

    @model_validator(mode="after")
    def _only_stages_are_extra(self) -> Telemetry:
        wrong = [key for key in self.__pydantic_extra__ if not re.match(_STAGE_KEY, key)]
        if wrong:
            raise ValueError(f"unknown keys {', '.join(wrong)}; expected stage_<name>_ms")
        return self


class Event(Message):
    """Something happened that a person should know. `code` is for programs, `text` for people."""

    kind: ClassVar[str] = "event"
    qos: ClassVar[Literal[0, 1]] = 1
    retain: ClassVar[bool] = False

    schema_: Literal["sicklescope/event/1"] = Field(default="sicklescope/event/1", alias="schema")
    """Name and version of this message's format."""
    level: Literal["info", "warning", "error"]
    """How much it matters: `error` hinders the device or a result."""
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """What happened, for programs; docs/mqtt.md lists the codes."""
    text: str
    """What happened and what to do, in words, for people."""


class Reply(Message):
    """What came of a command that was authenticated."""

    kind: ClassVar[str] = "reply"
    qos: ClassVar[Literal[0, 1]] = 1
    retain: ClassVar[bool] = False
    added: ClassVar[tuple[str, ...]] = ("request", "results")

    schema_: Literal["sicklescope/reply/1"] = Field(default="sicklescope/reply/1", alias="schema")
    """Name and version of this message's format."""
    command: str
    """`start`, `stop`, `discard`, `reopen` or `resend`; empty when it was none of them."""
    request: str
    """The command's own `request`, for whoever sent it to know its answer by; empty when it had none."""
    error: str
    """Why it was not done, or not in full, in words; empty when it was."""
    sample_id: str
    """Identifier of the sample, else empty."""
    state: str
    """State of the sample after the command, else empty."""
    results: Count | None
    """How many results `resend` sends again; null for other commands."""
    correlation: bytes | None = Field(default=None, exclude=True)
    """MQTT 5's Correlation Data of the command, which is a property of the packet and no key."""


MESSAGES: tuple[type[Message], ...] = (Status, Birth, Progress, Result, ResultIndex, Telemetry, Event, Reply)
"""Every message there is; a new one is a row here."""
