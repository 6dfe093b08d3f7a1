"""The control slides of a device: what is expected of them, their readings, what follows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge.config.model import ControlConfig
from edge.errors import InputError, SampleError
from edge.sample.codes import CONTROL
from edge.sample.sample_row import Moment
from edge.screening.sample_record import SampleRecord
from edge.screening.westgard import Expected, failed, score, violated_rules
from edge.storage.database import Database

DAY_MS = 86_400_000

NAME = r"[A-Za-z0-9][A-Za-z0-9_.]{0,31}"
"""What a slide may be called: no dash, which ends the name in a code."""


@dataclass(frozen=True, slots=True)
class ControlSlide:
    """A slide in use. added_ms: wall time, milliseconds since 1970 UTC."""

    id: int
    name: str
    expected: Expected
    added_ms: int


@dataclass(frozen=True, slots=True)
class ControlReading:
    """One reading of a slide, judged.

    Attributes:
        read_ms: wall time, milliseconds since 1970 UTC.
        clock_synchronised: whether that time can be believed.
        sickle: cells called sickle.
        red_cells: red cells counted.
        networks: digests of detector and classifier; rules look only at readings with the same ones running.
        s: standard deviations that it lies from what is expected.
        rules: names of the RULES that it violates.
    """

    read_ms: int
    clock_synchronised: bool
    sickle: int
    red_cells: int
    networks: tuple[str, str]
    s: float
    rules: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether a rule was violated that is more than a warning."""
        return failed(self.rules)


class ControlSlides:
    """The record of a device's control slides. Methods raise StorageError as Database does."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        """Use the tables of a database; wall: a clock, seconds since 1970 UTC."""
        self._database = database
        self._wall = wall

    def add(self, name: str, expected: Expected) -> None:
        """Take a slide into use.

        Raises:
            InputError: One of the name is in use, or it cannot be called so.
        """
        if not re.fullmatch(NAME, name):
            raise InputError(
                f"a control slide cannot be called {name!r}; expected 1 to 32 letters, digits, dots or underscores, "
                "beginning with a letter or digit"
            )
        with self._database.transaction():
            if any(slide.name == name for slide in self.slides()):
                raise InputError(
                    f"a control slide {name} is in use. Retire it first (sicklescope control retire {name}): what was "
                    "read so far stays on record, and its rules begin anew"
                )
            self._database.write(
                "INSERT INTO control_slides (name, fraction, between_run_sd, added_ms) VALUES (?, ?, ?, ?)",
                name, expected.fraction, expected.between_run_sd, self._now_ms(),
            )  # fmt: skip

    def retire(self, name: str) -> None:
        """Take a slide out of use; its readings stay.

        Raises:
            InputError: There is none of the name.
        """
        slide = self.slide(name)
        self._database.write("UPDATE control_slides SET retired_ms = ? WHERE id = ?", self._now_ms(), slide.id)

    def slides(self) -> list[ControlSlide]:
        """Return the slides in use, in the order in which they were added."""
        rows = self._database.read(
            "SELECT id, name, fraction, between_run_sd, added_ms FROM control_slides "
            "WHERE retired_ms IS NULL ORDER BY id"
        )
        return [ControlSlide(id_, name, Expected(fraction, sd), added) for id_, name, fraction, sd, added in rows]

    def slide(self, name: str) -> ControlSlide:
        """Return the slide of this name that is in use; raises InputError when there is none."""
        for slide in self.slides():
            if slide.name == name:
                return slide
        raise InputError(self._absent(name))

    def record(self, sample: SampleRecord, moment: Moment) -> None:
        """Store the reading of a control slide; a sample of no such slide is none.

        Neither is one of too few cells, or one that is withheld. A sample that is scanned further and ends once more is
        one reading still, its last.
        """
        slide, verdict = self._named(sample.code), sample.verdict
        if slide is None or verdict.status != "reported":
            return
        self._database.write(
            "INSERT INTO control_readings (slide_id, sample_id, read_ms, clock_synchronised, boot_id, sickle, "
            "red_cells, detector_sha256, classifier_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sample_id) "
            "DO UPDATE SET read_ms = excluded.read_ms, sickle = excluded.sickle, red_cells = excluded.red_cells",
            slide.id, str(sample.sample_id), moment.made_ms, int(moment.clock_synchronised), moment.boot_id,
            verdict.sickle, verdict.red_cells, *sample.networks.digests,
        )  # fmt: skip

    def failure(self, sample: SampleRecord) -> str:
        """Return what is wrong with the reading of a control slide, in words, or nothing."""
        slide = self._named(sample.code)
        if slide is None:
            return ""
        if sample.verdict.status != "reported":
            return f"control slide {slide.name} was not read: {sample.verdict.text}"
        rules = self.readings(slide)[-1].rules
        return f"control slide {slide.name} failed: {', '.join(rules)}" if failed(rules) else ""

    def flags(self, code: str, config: ControlConfig, networks: tuple[str, str]) -> frozenset[str]:
        """Return the flags that follow for a sample from its code and from the control slides.

        Args:
            code: the sample's.
            config: of the control slides.
            networks: digests of detector and classifier.

        Raises:
            SampleError: The code is one of a control slide, and no such slide is in use.
        """
        if not code.startswith(f"{CONTROL}-"):
            return frozenset(self.standing(config, networks))
        if self._named(code) is None:
            raise SampleError(f"sample code {code} is one of a control slide: {self._absent(code.split('-')[1])}")
        return frozenset({CONTROL})

    def readings(self, slide: ControlSlide) -> list[ControlReading]:
        """Return every reading of a slide in the order of making, whatever the clock said."""
        rows = self._database.read(
            "SELECT read_ms, clock_synchronised, sickle, red_cells, detector_sha256, classifier_sha256 "
            "FROM control_readings WHERE slide_id = ? ORDER BY id",
            slide.id,
        )
        return _judged(slide.expected, rows)

    def standing(self, config: ControlConfig, networks: tuple[str, str]) -> dict[str, str]:
        """Return the flags that results carry now, each with its reason; none when all is well.

        A slide is overdue when it was last read with these networks more than `config.days` ago, or never, or by the
        clock after now: then the clock was set, and nobody knows how long ago it was.
        """
        if config.enforce == "off":
            return {}
        slides = self.slides()
        overdue = [] if slides else ["no control slide is in use"]
        bad = []
        for slide in slides:
            readings = [reading for reading in self.readings(slide) if reading.networks == networks]
            age_ms = self._now_ms() - readings[-1].read_ms if readings else -1
            if not 0 <= age_ms <= config.days * DAY_MS:
                why = "was last read too long ago" if readings else "was not read with this model"
                overdue.append(f"{slide.name} {why}")
            if readings and readings[-1].failed:
                bad.append(f"{slide.name} broke {', '.join(readings[-1].rules)}")
        found = {"control_failed": "; ".join(bad), "control_overdue": "; ".join(overdue)}
        return {flag: why for flag, why in found.items() if why}

    def _named(self, code: str) -> ControlSlide | None:
        """Return the slide in use that a sample's code names, if it names one."""
        kind, _, rest = code.partition("-")
        name = rest.partition("-")[0]
        return next((slide for slide in self.slides() if kind == CONTROL and slide.name == name), None)

    def _absent(self, name: str) -> str:
        present = ", ".join(slide.name for slide in self.slides()) or "none; begin with sicklescope control add"
        return f"no control slide {name} is in use; there is {present}"

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)


def _judged(expected: Expected, rows: Sequence[Any]) -> list[ControlReading]:
    """Judge rows of control_readings, oldest first."""
    readings: list[ControlReading] = []
    running: list[float] = []
    for read_ms, synchronised, sickle, red_cells, *digests in rows:
        networks = (digests[0], digests[1])
        if readings and readings[-1].networks != networks:
            running.clear()  # another model is another method: what it finds says nothing of a trend
        running.append(score(sickle, red_cells, expected))
        rules = violated_rules(running)
        readings.append(ControlReading(read_ms, bool(synchronised), sickle, red_cells, networks, running[-1], rules))
    return readings
