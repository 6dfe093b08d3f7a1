"""How the computer itself is doing: heat, power, disk and memory, read from files that Linux offers to any user.

A Raspberry Pi tells of its power supply in `get_throttled` (bits 0 to 3 now, 16 to 19 since it started; Raspberry Pi
documentation, `vcgencmd get_throttled`). A Jetson counts over-current in `soctherm_oc`, tells of heat by cooling
devices called `*-alert`, and keeps its power mode in nvpmodel's files (Jetson Linux Developer Guide, "Platform Power
and Performance"). Everywhere else the kernel's thermal zones and cooling devices are what there is.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DISK_LOW_MB = 200.0
"""From here a person should make room; below `doctor`'s own limit nothing can be kept any more."""

DISK_WELL_MB = 300.0
"""From here it is told again when the disk runs low, so that a value that wavers is told once."""

_PI_CAUSES = ("under_voltage", "frequency_capped", "throttled", "heat")
"""By bit of `get_throttled`, and 16 bits higher what has been since the start."""

_LIMITS_CLOCKS = re.compile(r"^(thermal-)?(cpufreq|devfreq)|^Processor$|-alert$")
"""Types of the cooling devices that slow something down; a fan does not."""

_SENSIBLE_C = (-40.0, 150.0)
"""A zone that is switched off says -256 °C, or nothing."""


@dataclass(frozen=True, slots=True)
class MachineHealth:
    """What the machine says of itself; None where it does not tell.

    temperature_c: of its hottest zone. throttling: causes that slow it down now; throttled_before: those since it
    started. Both sorted, empty when there are none.
    """

    temperature_c: float | None
    throttling: tuple[str, ...] | None
    throttled_before: tuple[str, ...] | None
    power_mode: str | None
    memory_available_mb: float | None
    disk_free_mb: float


class Machine:
    """Reads the health of this machine.

    root: where /sys, /proc, /etc and /var are; state_dir: whose disk counts.
    """

    def __init__(self, state_dir: Path, root: Path = Path("/")) -> None:
        self._state_dir, self._root = state_dir, root
        self._disk_was_low = False
        self._now: frozenset[str] = frozenset()
        self._before: frozenset[str] = frozenset()

    def health(self) -> MachineHealth:
        """Look at everything; takes about a millisecond."""
        now, before = self._throttled()
        return MachineHealth(
            temperature_c=self._temperature_c(),
            throttling=now,
            throttled_before=before,
            power_mode=self._power_mode(),
            memory_available_mb=self._memory_available_mb(),
            disk_free_mb=free_mb(self._state_dir),
        )

    def news(self, health: MachineHealth) -> Iterator[tuple[Literal["info", "warning"], str, str]]:
        """Give level, code and text of each event to tell since the last call.

        A state that lasts is told once.
        """
        now, before = frozenset(health.throttling or ()), frozenset(health.throttled_before or ())
        if new := now - self._now:
            yield "warning", "throttled", f"the machine is slowed down: {', '.join(sorted(new))}. {_remedy(new)}"
        elif new := before - self._before - now:
            yield "warning", "throttled", f"the machine was slowed down: {', '.join(sorted(new))}. {_remedy(new)}"
        elif self._now and not now:
            yield "info", "throttled_no_more", "the machine runs at full speed again"
        self._now, self._before = now, self._before | now | before
        if health.disk_free_mb < DISK_LOW_MB and not self._disk_was_low:
            self._disk_was_low = True
            text = f"{health.disk_free_mb:.0f} MB free for {self._state_dir}; make room, {DISK_WELL_MB:.0f} MB at least"
            yield "warning", "disk_low", text
        elif health.disk_free_mb >= DISK_WELL_MB:
            self._disk_was_low = False

    def _temperature_c(self) -> float | None:
        zones = (_number(path) for path in self._root.glob("sys/class/thermal/thermal_zone*/temp"))
        sensible = [value / 1000 for value in zones if value is not None]
        return max((value for value in sensible if _SENSIBLE_C[0] < value < _SENSIBLE_C[1]), default=None)

    def _throttled(self) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        """Return the causes now, and those since the start, which only some machines tell."""
        pi = next(self._root.glob("sys/devices/platform/soc*/*firmware/get_throttled"), None)
        bits = _number(pi, 16) if pi else None
        counts = [_number(path) for path in self._root.glob("sys/class/hwmon/hwmon*/oc[0-9]_event_cnt")]
        cooling = list(self._cooling())
        if bits is None and not counts and not cooling:
            return None, None
        now = {cause for bit, cause in enumerate(_PI_CAUSES) if bits and bits >> bit & 1}
        before = {cause for bit, cause in enumerate(_PI_CAUSES) if bits and bits >> (bit + 16) & 1}
        before |= {"over_current"} if any(counts) else set()
        now |= {"heat"} if any(cooling) else set()
        return tuple(sorted(now)), None if bits is None and not counts else tuple(sorted(before))

    def _cooling(self) -> Iterator[bool]:
        """Give for each cooling device that could slow the machine down whether it does."""
        for device in self._root.glob("sys/class/thermal/cooling_device*"):
            if _LIMITS_CLOCKS.search(_text(device / "type")):
                yield (_number(device / "cur_state") or 0) > 0

    def _power_mode(self) -> str | None:
        mode = re.match(r"pmode:0*(\d+)", _text(self._root / "var/lib/nvpmodel/status"))
        if mode is None:
            return None
        modes = _text(self._root / "etc/nvpmodel.conf")
        name = re.search(rf"^<\s*POWER_MODEL\s+ID={mode[1]}\s+NAME=(\S+)\s*>", modes, re.MULTILINE)
        return name[1] if name else mode[1]

    def _memory_available_mb(self) -> float | None:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(self._root / "proc/meminfo"), re.MULTILINE)
        return int(found[1]) * 1024 / 1e6 if found else None


def free_mb(folder: Path) -> float:
    """Return what is free, in MB, on the disk of a folder that may not be there yet."""
    return shutil.disk_usage(existing(folder)).free / 1e6


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())


def _remedy(causes: frozenset[str]) -> str:
    if causes & {"under_voltage", "over_current"}:
        return "Use a stronger power supply and a shorter cable"
    return "Give it air, or a fan; counts stay right, they only take longer"


def _text(path: Path) -> str:
    """Return what a file says; nothing where it is not there or its driver does not answer."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path, base: int = 10) -> int | None:
    try:
        return int(_text(path), base)
    except ValueError:
        return None
