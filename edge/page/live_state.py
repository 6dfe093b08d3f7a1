"""What the live page tells beside the picture, gathered once for all who look."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from edge.api.device import Device, LiveField
from edge.camera.registry import CAMERAS
from edge.errors import EdgeError
from edge.page.guidance import Guidance, Picture, guidance
from edge.report.slide_map import SlideMap, slide_map, squares
from edge.runtime.registry import digests
from edge.sample.sample_row import StoredSample
from edge.system.health import DISK_LOW_MB, free_mb
from edge.types import FieldReading, Reason

FRESH_S = 0.4
"""Whoever asks within this is told the same."""

MAP_S, SLOW_S = 2.0, 15.0
"""How often the map is drawn anew, and disk and control slides are looked at."""

RATE_S = 5.0
"""Over which fields a second are counted."""


@dataclass(frozen=True, slots=True)
class LiveState:
    """What is going on, for the page.

    Attributes:
        guidance: what to do now.
        picture: what is wrong with the picture.
        state: of the device.
        target: red cells that are the aim.
        fields_per_s: rate of reading; None while nothing is read.
        slide: map of the sample at hand.
        disk_free_mb: room for what is stored.
        disk_low: whether a person should make room.
        control: what is wrong with the control slides, in words; empty when nothing is, None where none is used.
        last: the newest sample that is not being scanned.
        sends: whether results are sent to a broker.
        begun: who began to scan the sample at hand, or went on with it; empty for none.
    """

    guidance: Guidance
    picture: Picture
    state: dict[str, Any]
    target: int
    fields_per_s: float | None
    slide: SlideMap
    disk_free_mb: float
    disk_low: bool
    control: str | None
    last: StoredSample | None
    sends: bool
    begun: str

    @property
    def scanning(self) -> bool:
        """Whether a sample is being scanned."""
        return bool(self.state["state"] == "scanning")

    @property
    def key(self) -> str:
        """What changes when another sample is scanned, or none, or the device is out of order."""
        last = f"{self.last.id}-{self.last.state}" if self.last else ""
        return f"{self.state['id']}-{last}-{self.state['state']}"

    @property
    def working(self) -> bool:
        """Whether the device can read samples."""
        return bool(self.state["state"] != "fault")

    @property
    def red_cells(self) -> int:
        """Red cells counted so far."""
        verdict = self.state["verdict"]
        return int(verdict["red_cells"]) if verdict else 0

    @property
    def to_go(self) -> int:
        """Red cells that are missing to the target."""
        return max(0, self.target - self.red_cells)


class LiveStates:
    """Gathers the state, at most once in FRESH_S. Any thread may call it."""

    def __init__(self, device: Device) -> None:
        self._device, self._lock = device, threading.Lock()
        self._made: tuple[float, LiveState] | None = None
        self._map: tuple[float, str | None, SlideMap] = (0.0, None, slide_map([]))
        self._begun: tuple[str | None, str] = (None, "")
        self._scanned: str | None = None
        self._slow: tuple[float, float, str | None] = (0.0, 0.0, None)
        self._frames: deque[tuple[float, int]] = deque(maxlen=64)
        self._focus: deque[float] = deque(maxlen=6)
        self._last_reading: FieldReading | None = None

    def now(self) -> LiveState:
        """Return the state."""
        with self._lock:
            now_s = time.monotonic()
            if self._made is None or now_s - self._made[0] >= FRESH_S:
                self._made = now_s, self._gathered(now_s)
            return self._made[1]

    def forget(self) -> None:
        """Gather anew for the next who asks: something was done."""
        with self._lock:
            self._made = None

    def _gathered(self, now_s: float) -> LiveState:
        state, live = self._device.state(), self._device.live()
        reading = live.reading if live else None
        disk_free_mb, control = self._looked_at_slowly(now_s)
        last = next((one for one in self._device.lifecycle.store.newest(2) if one.state != "scanning"), None)
        self._scanned = state["id"] or self._scanned
        ended = last.state if last is not None and last.id == self._scanned else None
        picture = self._picture(state, live)
        return LiveState(
            guidance=guidance(state, self._device.fault, reading, self._focus_trend(reading), ended, picture),
            picture=picture,
            state=state,
            target=self._device.config.screening.target_red_cells,
            fields_per_s=self._rate(now_s, state),
            slide=self._slide(now_s, state["id"]),
            disk_free_mb=disk_free_mb,
            disk_low=disk_free_mb < DISK_LOW_MB,
            control=control,
            begun=self._begun_by(state["id"]),
            last=last,
            sends=self._device.config.mqtt.enabled,
        )

    def _picture(self, state: dict[str, Any], live: LiveField | None) -> Picture:
        if self._device.fault:
            return "fault"
        if state["camera_problem"]:
            return "none" if live is None else "lost"
        if live is not None:
            return ""
        # Files and rendered slides give pictures to samples only.
        return "waiting" if CAMERAS[self._device.config.camera.kind].live or state["id"] else "sample"

    def _begun_by(self, sample_id: str | None) -> str:
        if self._begun[0] != sample_id:
            steps = self._device.lifecycle.store.history(sample_id) if sample_id else []
            self._begun = sample_id, steps[-1]["by"] if steps else ""
        return self._begun[1]

    def _focus_trend(self, reading: FieldReading | None) -> float:
        if reading is not None and reading is not self._last_reading:
            self._last_reading = reading
            rejected = reading.rejected
            if rejected is not None and rejected.reason is Reason.OUT_OF_FOCUS:
                self._focus.append(rejected.value)
            else:
                self._focus.clear()
        return self._focus[-1] - self._focus[0] if len(self._focus) > 2 else 0.0

    def _rate(self, now_s: float, state: dict[str, Any]) -> float | None:
        frames = state.get("frames")
        if frames is None:
            self._frames.clear()
            return None
        if self._frames and frames < self._frames[-1][1]:
            self._frames.clear()
        self._frames.append((now_s, frames))
        while now_s - self._frames[0][0] > RATE_S:
            self._frames.popleft()
        (first_s, first), (last_s, last) = self._frames[0], self._frames[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None

    def _slide(self, now_s: float, sample_id: str | None) -> SlideMap:
        made_s, of, found = self._map
        if sample_id != of or now_s - made_s >= MAP_S:
            found = slide_map(squares(self._device.lifecycle.store.database, sample_id) if sample_id else [])
            self._map = now_s, sample_id, found
        return found

    def _looked_at_slowly(self, now_s: float) -> tuple[float, str | None]:
        made_s, disk_free_mb, control = self._slow
        if not made_s or now_s - made_s >= SLOW_S:
            disk_free_mb, control = free_mb(self._device.config.device.state_dir), self._control()
            self._slow = now_s, disk_free_mb, control
        return disk_free_mb, control

    def _control(self) -> str | None:
        config, controls = self._device.config, self._device.lifecycle.controls
        if not controls.slides() and config.control.enforce == "off":
            return None
        told = config.control.model_copy(update={"enforce": "mark"})
        try:
            return "; ".join(controls.standing(told, digests(config.models, config.device.state_dir)).values())
        except EdgeError as error:  # a model that cannot be read: the fault tells
            return str(error)
