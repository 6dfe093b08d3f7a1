"""What the API and the page see of a running device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal

from edge.config.model import Config
from edge.sample.command_queue import CommandQueue
from edge.sample.lifecycle import Lifecycle
from edge.types import FieldReading, Frame


@dataclass(frozen=True, slots=True)
class LiveField:
    """The camera's newest picture.

    reading: what was read in it; None while no sample is scanned.
    """

    frame: Frame
    reading: FieldReading | None


Level = Literal["info", "warning", "error"]


def _tell_nobody(level: Level, code: str, text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device. Any thread may call what it holds.

    Attributes:
        config: of the device.
        lifecycle: the samples.
        commands: takes what is asked to the thread that does it.
        state: gives what is going on.
        live: gives the camera's newest picture; None before the first.
        fault: why the device cannot read samples, in safe mode; else empty.
        tell: sends the dashboards an event; see `edge.publish.messages.Event`.
        ended: set when nobody is to be served any more.
    """

    config: Config
    lifecycle: Lifecycle
    commands: CommandQueue
    state: Callable[[], dict[str, Any]]
    live: Callable[[], LiveField | None]
    fault: str = ""
    tell: Callable[[Level, str, str], None] = _tell_nobody
    ended: Event = field(default_factory=Event)
