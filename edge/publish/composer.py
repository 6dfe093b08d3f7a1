"""From what was counted to the messages: stamps each with who, when and which number."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count
from typing import Any, Literal
from uuid import uuid4

from edge.config.model import DeviceConfig
from edge.publish.messages import Birth, Event, Reply, Status, Telemetry
from edge.publish.result_messages import Progress, Result, ResultIndex
from edge.publish.sample_fields import counted_fields, network_fields, record_fields, rejection_fields, review_fields
from edge.screening.review import ReviewedCounts
from edge.screening.sample_record import SampleRecord, Stage, UsedNetworks
from edge.storage.result_numbers import HeldResults
from edge.system.clock import boot_id, clock_synchronised
from edge.system.health import MachineHealth
from edge.types import CLASSES, Counts, Verdict

HISTORICAL_MS = 10_000
"""A message that leaves later than so after it was made tells of the past."""

INDEX_BYTES, _INDEX_REST_BYTES = 8192, 1192
"""The longest index of results, and what of it is not for the ranges that it lists."""

_FRESH, _HISTORICAL = '"historical":false', '"historical":true'
"""As pydantic writes the key. No value can hold the same bytes: a quote within a text is escaped."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the device is doing, as in `Telemetry`; stage_ms: by stage, without prefix or unit."""

    fps: float
    frames: int
    frames_dropped: int
    rss_mb: float
    stage_ms: Mapping[str, float]
    machine: MachineHealth
    certificate_ends_ms: int | None = None
    models_serial: int | None = None
    models_state: str = ""


class Composer:
    """Makes the messages of one device, from any thread. A test gives the clocks, seconds.

    Raises pydantic's ValidationError where a number breaks the contract, such as counts that do not add up.
    """

    def __init__(
        self,
        device: DeviceConfig,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        synchronised: Callable[[], bool] = clock_synchronised,
    ) -> None:
        self.site = device.site
        self.device = device.device
        self._wall = wall
        self._monotonic = monotonic
        self._synchronised = synchronised
        # From the milliseconds since boot: a program that starts again on the same boot goes on above its last one.
        self._seq = count(int(monotonic() * 1000))

    def _stamp(self, sample: str, numbered: bool = True) -> dict[str, Any]:
        return {
            "ts_ms": int(self._wall() * 1000),
            "clock_synchronised": self._synchronised(),
            "uptime_ms": int(self._monotonic() * 1000),
            "boot_id": boot_id(),
            "site": self.site,
            "device": self.device,
            "sample": sample,
            "seq": next(self._seq) if numbered else 0,
        }

    def dated(self, payload: str) -> tuple[str, bool]:
        """Return a payload as it leaves now, marked when it is `historical`, and whether it is.

        The mark is set in the text, for all else has to stay as it was stored, byte for byte.
        """
        made = json.loads(payload)
        age_ms = int(self._monotonic() * 1000) - made.get("uptime_ms", 0)
        historical = made.get("boot_id") != boot_id() or age_ms > HISTORICAL_MS
        return payload.replace(_FRESH, _HISTORICAL, 1) if historical else payload, historical

    def status(
        self,
        state: Literal["online", "offline", "stopped", "fault", "building"],
        reason: str = "",
        sample: str = "",
    ) -> Status:
        """Say whether the device is there."""
        return Status(**self._stamp(sample), state=state, reason=reason)

    def birth(
        self, networks: UsedNetworks, camera: str, um_per_px: float | None, challenge: str | None = None
    ) -> Birth:
        """Say what the device is made of; um_per_px is None when it is estimated for each sample.

        challenge: of the next command, where commands are taken.
        """
        return Birth(
            **self._stamp(""),
            **network_fields(networks),
            sicklescope_version=version("sicklescope"),
            python_version=platform.python_version(),
            classes=",".join(CLASSES),
            camera=camera,
            um_per_px=um_per_px,
            command_challenge=challenge,
        )

    def reply(
        self, command: str, answer: Mapping[str, Any], error: str, request: str = "", correlation: bytes | None = None
    ) -> Reply:
        """Answer a command: what came of it, or why it was not done.

        Args:
            command: its name, empty when it has none that is known.
            answer: what came of it.
            error: why it was not done, or empty.
            request: how who sent it names it in its text.
            correlation: the same in the MQTT 5 packet.
        """
        return Reply(
            **self._stamp(answer.get("sample", "")),
            command=command,
            request=request,
            error=error or answer.get("left_out", ""),
            sample_id=answer.get("id", ""),
            state=answer.get("state", ""),
            results=answer.get("results"),
            correlation=correlation,
        )

    def progress(self, sample: str, counts: Counts, verdict: Verdict) -> Progress:
        """Make the message of the running counts."""
        return Progress(**self._stamp(sample), **counted_fields(counts, verdict))

    def draft(self, record: SampleRecord) -> Result:
        """Return what a sample's first result would be if it ended now.

        It is stored and not sent: its stamps are of now, but it takes no sequence number, whose gap would be a message
        that receivers miss.
        """
        stamp = self._stamp(record.code, numbered=False)
        return Result(**stamp, **record_fields(record), id=record.sample_id, revision=1, stage="incomplete", reason="")

    def result(
        self,
        record: SampleRecord,
        revision: int,
        number: int,
        stage: Stage,
        reason: str,
        reviewed: ReviewedCounts | None = None,
    ) -> Result:
        """Return a result of a sample, stamped now, with a new UUID.

        Args:
            record: what is known of the sample.
            revision: 1 for its first result.
            number: of the result, among all of the device.
            stage: what the sample is in now.
            reason: why, in words, or empty.
            reviewed: the counts after review, where a person has looked at cells.
        """
        fields = {**record_fields(record), **review_fields(reviewed)}
        return Result(
            **self._stamp(record.code),
            **fields,
            id=uuid4(),
            number=number,
            revision=revision,
            stage=stage,
            reason=reason,
        )

    def result_index(self, held: HeldResults, packet_bytes: int | None = None) -> ResultIndex:
        """Say which results can be sent again.

        Of very many ranges the highest are listed, as many as an index and a packet of the broker's size hold.
        """
        room = INDEX_BYTES if packet_bytes is None else min(INDEX_BYTES, packet_bytes)
        texts: list[str] = []
        listed_from = held.highest + 1
        chars = 0
        for first, last in held.ranges:
            text = str(first) if first == last else f"{first}-{last}"
            chars += len(text) + 1
            if chars > room - _INDEX_REST_BYTES:
                break
            texts.append(text)
            listed_from = first
        complete = len(texts) == len(held.ranges)
        return ResultIndex(
            **self._stamp(""),
            highest=held.highest,
            held=",".join(reversed(texts)),
            held_results=sum(last - first + 1 for first, last in held.ranges),
            listed_from=0 if complete else listed_from,
        )

    def telemetry(
        self, sample: str, counts: Counts, health: Health, *, pending: int, refused: int, unheard: int, dropped: int
    ) -> Telemetry:
        """Make the message of how the device is doing; the last four: of the publisher's state()."""
        fields: dict[str, Any] = {
            **self._stamp(sample),
            **rejection_fields(counts.rejected),
            "fps": health.fps,
            "frames": health.frames,
            "frames_dropped": health.frames_dropped,
            "outbox_pending": pending,
            "outbox_refused": refused,
            "outbox_unheard": unheard,
            "messages_dropped": dropped,
            "rss_mb": health.rss_mb,
            "certificate_ends_ms": health.certificate_ends_ms,
            "models_serial": health.models_serial,
            "models_state": health.models_state,
            **asdict(health.machine),
            "throttling": _joined(health.machine.throttling),
            "throttled_before": _joined(health.machine.throttled_before),
            **{f"stage_{name}_ms": ms for name, ms in health.stage_ms.items()},
        }
        return Telemetry.model_validate(fields)

    def event(self, level: Literal["info", "warning", "error"], code: str, text: str, sample: str = "") -> Event:
        """Make the message that something happened."""
        return Event(**self._stamp(sample), level=level, code=code, text=text)


def _joined(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else ",".join(names)
