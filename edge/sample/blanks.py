"""Slides known to be free of sickle cells, which the site's limit of blank rests on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge.config.model import Config
from edge.errors import InputError
from edge.sample.sample_row import StoredSample
from edge.screening.sample_record import SampleRecord
from edge.screening.site_blank import MIN_RED_CELLS, BlankSlide, SiteBlank
from edge.storage.database import Database
from edge.system.digest import sha256_file

Method = Literal["hplc", "electrophoresis"]
"""How it is known that a person has haemoglobin A alone."""

STALE = "blank_stale"
"""Flag of results while there is a limit of the site, of other models or optics."""

_INSERT = """
INSERT INTO blank_slides (sample_id, code, sickle, red_cells, person, stain, method, anaemic, day, read_ms,
    detector_sha256, classifier_sha256, optics, added_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (sample_id) DO UPDATE SET person = excluded.person, stain = excluded.stain, method = excluded.method,
    anaemic = excluded.anaemic, sickle = excluded.sickle, red_cells = excluded.red_cells
"""


@dataclass(frozen=True, slots=True)
class StoredBlank:
    """A slide with what it was read with.

    code: of its sample; networks, optics: see `BlankSlides.in_force`.
    """

    code: str
    slide: BlankSlide
    method: str
    read_ms: int
    networks: tuple[str, str]
    optics: str


class BlankSlides:
    """The record of a device's blank slides. Methods raise StorageError as Database does."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        """Use the tables of a database; wall: a clock, seconds since 1970 UTC."""
        self._database, self._wall = database, wall

    def add(
        self, sample: StoredSample, record: SampleRecord, person: str, stain: str, method: Method, anaemic: bool
    ) -> None:
        """Take a sample that was read as a blank slide; taken again, it is what is said of it last.

        Raises:
            InputError: It was not read well enough, or person or batch has no code.
        """
        verdict = record.verdict
        if sample.state in ("scanning", "discarded") or verdict.status != "reported":
            raise InputError(f"sample {sample.code} cannot be a blank slide: it is {sample.state}. {verdict.text}")
        if verdict.red_cells < MIN_RED_CELLS:
            raise InputError(
                f"sample {sample.code} has {verdict.red_cells} red cells; a blank slide needs {MIN_RED_CELLS} at least"
            )
        if not person.strip() or not stain.strip():
            raise InputError("expected a code of the person (never a name) and one of the stain batch")
        self._database.write(
            _INSERT,
            sample.id, sample.code, verdict.sickle, verdict.red_cells, person.strip(), stain.strip(), method,
            int(anaemic), sample.day, record.period.ended_ms, *record.networks.digests, optics_of(sample.setup),
            int(self._wall() * 1000),
        )  # fmt: skip

    def remove(self, code: str) -> None:
        """Let a slide count no longer.

        Raises:
            InputError: No slide has this code.
        """
        if not any(one.code == code for one in self.all()):
            raise InputError(f"no blank slide {code}; sicklescope control blank list shows those there are")
        self._database.write("DELETE FROM blank_slides WHERE code = ?", code)

    def all(self) -> list[StoredBlank]:
        """Return every slide, the oldest first, without those whose sample was discarded."""
        rows = self._database.read(
            "SELECT b.code, sickle, red_cells, person, stain, b.day, anaemic, method, read_ms, detector_sha256, "
            "classifier_sha256, optics FROM blank_slides b LEFT JOIN samples ON samples.id = b.sample_id "
            "WHERE samples.state IS NOT 'discarded' ORDER BY read_ms, b.code"
        )
        return [
            StoredBlank(
                code, BlankSlide(sickle, red, person, stain, day, bool(anaemic)), method, read_ms, (one, two), by
            )
            for code, sickle, red, person, stain, day, anaemic, method, read_ms, one, two, by in rows
        ]

    def in_force(self, networks: tuple[str, str], optics: str) -> SiteBlank | None:
        """Return the slides read with the networks (digests) and optics in use; None without any."""
        slides = tuple(one.slide for one in self.all() if (one.networks, one.optics) == (networks, optics))
        return SiteBlank(slides) if slides else None

    def flags(self, networks: tuple[str, str], optics: str) -> frozenset[str]:
        """Return the flag of results while all slides are of other networks or optics."""
        stale = bool(self.all()) and self.in_force(networks, optics) is None
        return frozenset({STALE}) if stale else frozenset()


def optics_in_use(config: Config, camera: str | None) -> str:
    """Return the digest of `optics_of` with which a sample would be read now; camera: its name."""
    calibration = config.optics.calibration
    return optics_of(
        {
            "camera": camera,
            "calibration_sha256": sha256_file(calibration) if calibration and calibration.is_file() else None,
            "optics": config.optics.model_dump(mode="json"),
        }
    )


def optics_of(setup: str | Mapping[str, Any]) -> str:
    """Return a digest of camera, optics calibration and scale with which a sample was read.

    Args:
        setup: of a stored sample, as JSON or read.
    """
    known = json.loads(setup) if isinstance(setup, str) else setup
    parts = {key: known.get(key) for key in ("camera", "calibration_sha256", "optics")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
