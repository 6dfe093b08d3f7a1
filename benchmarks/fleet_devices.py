"""Devices without a microscope: the shipped message code, outbox and publisher, with drawn counts."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

from edge.config.model import DeviceConfig, MqttConfig
from edge.publish.composer import Composer, Health
from edge.publish.message_base import ROOT
from edge.publish.messages import Birth, Telemetry
from edge.publish.publisher import Publisher
from edge.publish.result_messages import Result
from edge.screening.sample_record import Period, SampleRecord, Stage, UsedNetworks
from edge.screening.verdict import wilson
from edge.storage.database import Database
from edge.storage.outbox import Outbox
from edge.storage.result_numbers import HeldResults
from edge.system.health import MachineHealth
from edge.types import CLASSES, Counts, Exclusion, Reason, Scale, Verdict

NETWORKS = UsedNetworks(
    runtime="onnxruntime 1.32.0 int8 on the CPU",
    detector_name="detector-s4",
    detector_version="1.0.0",
    detector_sha256="a" * 64,
    classifier_name="classifier-s4",
    classifier_version="1.0.0",
    classifier_sha256="b" * 64,
    threshold_score=0.35,
    threshold_sickle=0.8,
    threshold_abstain=0.5,
)

HEALTH = Health(
    21.5, 640, 2, 212.4, {"detect": 18.25, "classify": 9.5}, MachineHealth(54.9, (), (), None, 3150.2, 21480.0)
)

BLANK = 0.013

FIRST_NUMBER = 382_113_000_001
"""Of a device's results."""


class VirtualDevice:
    """Says what a device says; the clocks are the caller's, seconds."""

    def __init__(
        self,
        site: str,
        device: str,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        synchronised: bool = True,
    ) -> None:
        self.config = DeviceConfig(site=site, device=device)
        self.compose = Composer(self.config, wall=wall, monotonic=monotonic, synchronised=lambda: synchronised)
        self._wall = wall
        self._numbers = count(FIRST_NUMBER)
        self._chance = random.Random(f"{site}/{device}")  # noqa: S311

    def birth(self) -> Birth:
        """Say what it is made of."""
        return self.compose.birth(NETWORKS, "virtual", 0.25)

    def telemetry(self, dropped: int = 0) -> Telemetry:
        """Say how it is doing."""
        return self.compose.telemetry("", _counts(0, 0), HEALTH, pending=0, refused=0, unheard=0, dropped=dropped)

    def result(
        self,
        *,
        sample_id: UUID | None = None,
        revision: int = 1,
        stage: Stage = "review",
        code: str = "K-1",
        red_cells: int = 1000,
        sickle: int | None = None,
        flags: tuple[str, ...] = (),
    ) -> Result:
        """Give the result of a sample; sickle: drawn where it is None."""
        drawn = self._chance.randint(0, red_cells // 10) if sickle is None else sickle
        record = SampleRecord(
            sample_id or uuid4(), code, 0, _counts(red_cells, drawn), _verdict(red_cells, drawn, flags),
            Scale(0.25, "configured", 0.0), NETWORKS,
            Period(int((self._wall() - 100) * 1000), int(self._wall() * 1000), 100.0),
        )  # fmt: skip
        return self.compose.result(record, revision, next(self._numbers), stage, "")


def _counts(red_cells: int, sickle: int) -> Counts:
    return Counts(
        by_class=dict(zip(CLASSES, (red_cells - sickle, sickle, 0, 4, 51, 8), strict=True)),
        excluded={Exclusion.ABSTAINED.value: 20, Exclusion.BORDER.value: 90},
        rejected={**{reason.value: 0 for reason in Reason}, "out_of_focus": 3},
        cells_seen=red_cells + 173,
        fields_read=24,
        area_mm2=0.46,
        fields_repeated=6,
        islands=1,
    )


def _verdict(red_cells: int, sickle: int, flags: tuple[str, ...]) -> Verdict:
    low, high = wilson(sickle, red_cells)
    return Verdict(
        status="reported" if red_cells >= 500 else "insufficient",
        red_cells=red_cells, sickle=sickle, fraction=sickle / red_cells, low=low, high=high,
        fraction_if_none=sickle / (red_cells + 20), fraction_if_all=(sickle + 20) / (red_cells + 20),
        limit_of_blank=BLANK, above_blank=low > BLANK if red_cells >= 500 else None, flags=flags,
        text=f"Sickle-like cells {sickle} of {red_cells}. Drawn counts, of no blood.",
    )  # fmt: skip


class PublishingDevice(VirtualDevice):
    """A virtual device with its own outbox on the disk and its own connection to the broker."""

    def __init__(self, folder: Path, mqtt: MqttConfig, site: str, device: str, lists: bool = False) -> None:
        """Set up a device; lists: whether it publishes the list of results that it holds."""
        super().__init__(site, device)
        self._path, self._mqtt, self._lists = folder / f"{site}-{device}.sqlite3", mqtt, lists
        self._stack = ExitStack()
        self.made: dict[str, str] = {}

    def __enter__(self) -> PublishingDevice:
        self._outbox = Outbox(self._stack.enter_context(Database(self._path)))
        self._publisher = self._stack.enter_context(
            Publisher(self._mqtt, self.compose, self._outbox, self.birth, held=self._held if self._lists else None)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self) -> None:
        """Send telemetry."""
        self._publisher.live(self.telemetry(self._publisher.state().dropped))

    def finish(self, result: Result | None = None) -> Result:
        """Store a result, from where it is sent."""
        result = result or self.result()
        self.made[str(result.id)] = result.to_json()
        self._publisher.result(result)
        return result

    def _held(self) -> HeldResults:
        """List the results that can be sent again: all, as soon as none is on its way to the broker."""
        numbers = [int(json.loads(payload)["number"]) for payload in list(self.made.values())]
        last = max(numbers, default=FIRST_NUMBER - 1)
        return HeldResults(last, ((FIRST_NUMBER, last),) if numbers and not self._outbox.counts().pending else ())

    def tell_held(self) -> None:
        """Publish the list of results that it holds, if it has changed."""
        self._publisher.wake()

    def resend(self, names: Collection[str]) -> int:
        """Send again those of its results that are named, as for the command `resend`; return how many."""
        mine = {name: payload for name, payload in self.made.items() if name in names}
        for name, payload in mine.items():
            self._outbox.put_again(name, f"{ROOT}/{self.config.site}/{self.config.device}/{Result.kind}", payload)
        self._publisher.wake()
        return len(mine)

    @property
    def waiting(self) -> int:
        """Results that wait for the broker."""
        counts = self._outbox.counts()
        return counts.pending + counts.unheard

    @property
    def connected(self) -> bool:
        """Whether the broker has let it in."""
        return bool(self._publisher.connection)
