"""The optics measured step by step by a person at the page: pictures held, measured, checked, and then written."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edge.api.device import Device
from edge.config.model import Config
from edge.errors import CommandError, EdgeError
from edge.optics.calibration_file import begin, finish
from edge.optics.light import refuse_bad_light, thumbnail
from edge.optics.measurement import LightMeasurement, SizeMeasurement, measure_light, measure_size
from edge.optics.preview import encoded
from edge.optics.red_cells import CellCheck, check_by_cells
from edge.system.health import existing
from edge.types import Pixels
from edge.vision.optics_calibration import Calibration

Kind = Literal["pixel-size", "flat-field"]

SIZE_PICTURES = 3
"""Pictures of the ruler, one after the other: their scatter is a part of the uncertainty."""

LIGHT_PICTURES = 6
"""Empty fields: half of them make the correction on which the other half tries it."""

MOVED_PICTURES = 12
"""Fields of cells, where no field is empty."""

PICTURES_MAX = 24

KEPT_PX = 640
"""Longest side at which pictures of the light are held: it changes slowly, and a small device has little memory."""

PATIENCE_S = 5.0
"""How long a new picture may be waited for."""

LOOK_S = 0.05

IDLE_S = 1800.0
"""After so long without a step another person may begin, and the pictures are forgotten."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One person's measurement under way.

    Attributes:
        kind: what is measured.
        who: by whom.
        used_s: monotonic clock of the last step.
        width: of the camera's pictures, pixels; 0 before the first.
        height: likewise.
        objective: as it will be called in the file.
        pictures: of the light.
        measured: what came of them; None before. Its pictures are in `shown` alone.
        shown: before and after, as JPEG.
        cells: what red cells say of a measured size; None where they were not asked.
    """

    kind: Kind
    who: str
    used_s: float
    width: int = 0
    height: int = 0
    objective: str = ""
    pictures: tuple[Pixels, ...] = ()
    measured: SizeMeasurement | LightMeasurement | None = None
    shown: bytes = b""
    cells: CellCheck | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A calibration that was written; named: whether the configuration names the file."""

    path: Path
    words: str
    objective: str
    named: bool


class OpticsWizard:
    """Holds the one measurement that may be under way. Any thread may call it."""

    def __init__(self, device: Device, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._device, self._monotonic = device, monotonic
        self._lock = threading.Lock()
        self._attempt: Attempt | None = None

    @property
    def config(self) -> Config:
        """The configuration of the device."""
        return self._device.config

    @property
    def path(self) -> Path:
        """Where the calibration is written."""
        return self.config.optics.calibration or self.config.device.state_dir / "optics.json"

    @property
    def writable(self) -> bool:
        """Whether the service may write there."""
        return os.access(existing(self.path.absolute().parent), os.W_OK | os.X_OK)

    def attempt(self, kind: Kind) -> Attempt | None:
        """Return the measurement of a kind that is under way."""
        found = self._held()
        return found if found is not None and found.kind == kind else None

    def _held(self) -> Attempt | None:
        found = self._attempt
        return None if found is None or self._monotonic() - found.used_s > IDLE_S else found

    @contextmanager
    def _step(self, kind: Kind, who: str) -> Iterator[Attempt]:
        """Give the person's measurement, which is begun where there is none.

        Raises:
            CommandError: Another person measures, or a step is under way.
        """
        if not self._lock.acquire(blocking=False):
            raise CommandError("the step before is still under way. Wait for it, then load the page again")
        try:
            held = self._held()
            if held is not None and held.who != who:
                raise CommandError(
                    f"{held.who} is measuring the optics. Let {held.who} finish, or press Begin again to take over: "
                    "pictures taken so far are dropped"
                )
            if held is None or held.kind != kind:
                held = Attempt(kind, who, 0.0, objective=self.config.optics.objective or "")
            self._attempt = replace(held, used_s=self._monotonic())
            yield self._attempt
        finally:
            self._lock.release()

    def drop(self) -> None:
        """Forget the measurement under way, whosever it is."""
        with self._lock:
            self._attempt = None

    def measure_size(self, who: str, division_um: float, objective: str) -> None:
        """Take pictures of a ruler whose lines are so far apart, and measure.

        Raises:
            EdgeError: No pictures come, or they show no ruler.
        """
        with self._step("pixel-size", who) as attempt:
            pictures = self._fresh(SIZE_PICTURES)
            height, width = pictures[0].shape[:2]
            self._attempt = attempt = replace(
                attempt, objective=objective, width=width, height=height, measured=None, cells=None
            )
            self._begun(attempt)
            self._attempt = _with(attempt, measure_size(pictures, division_um))

    def check_by_cells(self, who: str) -> None:
        """Take pictures of a smear, and compare its red cells with the size that was measured."""
        with self._step("pixel-size", who) as attempt:
            if not isinstance(attempt.measured, SizeMeasurement):
                raise CommandError("nothing was measured yet. Measure the ruler first")
            size = attempt.measured.part.um_per_px
            self._attempt = replace(attempt, cells=check_by_cells(self._fresh(SIZE_PICTURES), size, self.config))

    def take_light(self, who: str, objective: str) -> None:
        """Take one picture of the light.

        Raises:
            EdgeError: None comes, it is dark or saturated, or there are enough.
        """
        with self._step("flat-field", who) as attempt:
            if len(attempt.pictures) >= PICTURES_MAX:
                raise CommandError(f"{PICTURES_MAX} pictures are enough. Measure, or begin again")
            (pixels,) = self._fresh(1)
            height, width = pixels.shape[:2]
            changed = replace(attempt, objective=objective, width=width, height=height)
            self._begun(changed)
            if attempt.pictures and (attempt.width, attempt.height) != (width, height):
                raise CommandError("the camera's pictures have another size than before. Begin again")
            refuse_bad_light([pixels])
            self._attempt = replace(changed, pictures=(*attempt.pictures, thumbnail(pixels, KEPT_PX)), measured=None)

    def undo_light(self, who: str) -> None:
        """Forget the last picture of the light."""
        with self._step("flat-field", who) as attempt:
            self._attempt = replace(attempt, pictures=attempt.pictures[:-1], measured=None)

    def measure_light(self, who: str) -> None:
        """Measure the light from the pictures."""
        with self._step("flat-field", who) as attempt:
            if len(attempt.pictures) < LIGHT_PICTURES:
                raise CommandError(f"{LIGHT_PICTURES} pictures are needed; {len(attempt.pictures)} were taken")
            self._attempt = _with(attempt, measure_light(attempt.pictures))

    def use(self, kind: Kind, who: str) -> Written:
        """Write what was measured into the calibration file.

        Raises:
            EdgeError: Nothing was measured, its check failed, or the file cannot be written.
        """
        with self._step(kind, who) as attempt:
            if attempt.measured is None:
                raise CommandError("nothing was measured yet. Take the pictures first")
            refuse_bad_measurement(attempt)
            path, calibration = self._begun(attempt)
            written = finish(calibration, path, attempt.measured.part)
            self._attempt = None
        optics = self.config.optics
        named = optics.calibration is not None and optics.objective == written.objective
        return Written(path, written.in_words(), written.objective, named)

    def _begun(self, attempt: Attempt) -> tuple[Path, Calibration]:
        return begin(self.path, attempt.objective or None, self.config, attempt.width, attempt.height)

    def _fresh(self, count: int) -> list[Pixels]:
        """Return pictures that the camera takes from now on.

        Raises:
            CommandError: A sample is being scanned, or none comes.
        """
        found: list[Pixels] = []
        newest_s = time.monotonic()
        until_s = newest_s + PATIENCE_S
        while len(found) < count:
            self._refuse_where_none_can_come()
            live = self._device.live()
            if live is not None and live.frame.monotonic_s > newest_s:
                found.append(live.frame.pixels)
                newest_s, until_s = live.frame.monotonic_s, time.monotonic() + PATIENCE_S
            elif time.monotonic() > until_s:
                raise CommandError(
                    f"the camera gave no new picture within {PATIENCE_S:.0f} s. Check its cable. Files and rendered "
                    "slides give pictures to samples only: use sicklescope-calibrate for them"
                )
            else:
                time.sleep(LOOK_S)
        return found

    def _refuse_where_none_can_come(self) -> None:
        state = self._device.state()
        if self._device.fault:
            raise CommandError(f"the device is out of order: {self._device.fault}")
        if state["state"] == "scanning":
            raise CommandError(f"sample {state['sample']} is being scanned. Stop it first; then measure")
        if state["camera_problem"]:
            raise CommandError(
                f"the camera is lost: {state['camera_problem']}. Check its cable; pictures taken so far are kept"
            )


def _with(attempt: Attempt, measured: SizeMeasurement | LightMeasurement) -> Attempt:
    """Return the attempt with what was measured, whose pictures at full size are not held."""
    return replace(
        attempt, measured=replace(measured, rows=()), shown=encoded(measured.rows, ".jpg", narrow=True), cells=None
    )


def refuse_bad_measurement(attempt: Attempt) -> None:
    """Refuse a measurement whose own check speaks against it.

    Raises:
        EdgeError: Red cells are far from their size by it, or the light is no more even with it.
    """
    measured, cells = attempt.measured, attempt.cells
    if cells is not None and not cells.agrees:
        raise EdgeError(
            f"red cells would be {cells.diameter_um:.1f} µm wide, and are 7 to 8 µm: every field would be refused. "
            "Is the distance of the lines right, and the objective the same? Measure again"
        )
    if isinstance(measured, LightMeasurement) and measured.light.after >= measured.light.before:
        raise EdgeError(
            f"the light differs by {measured.light.before:.1%} over the field, and by {measured.light.after:.1%} "
            "with the correction: it would not help. The light is even enough, or changed between the pictures"
        )
