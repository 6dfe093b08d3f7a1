"""Devices and their boots: who sent a message, when it was made, and what is newest of each device."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from edge.publish.messages import Birth, Telemetry
from fleet.database.base import Database, marks
from fleet.database.schema import PARTITIONED
from fleet.rows.moments import IMPROVED_MS, clock_time, latest_boot
from fleet.rows.placed import Key, Placed
from fleet.rows.received import Received
from fleet.rows.sequence import Run, run_of

_CACHED = 100_000
"""Devices and boots whose rows are remembered; then they are looked up anew."""

_MOVED = (*PARTITIONED, "results")


@dataclass(slots=True)
class _Boot:
    """Row of a boot: the earliest wall time at which it can have been, and whether messages are placed by it."""

    device_id: int
    booted_ms: int
    clockless: bool


class Devices:
    """What the writer asks of devices and boots; all but `know` within its transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._devices: dict[tuple[str, str], int] = {}
        self._boots: dict[tuple[int, str], int] = {}

    def know(self, received: Sequence[Received]) -> None:
        """Make rows for devices and boots that are new; outside a transaction."""
        if len(self._boots) > _CACHED:
            self.forget()
        for one in received:
            message, came_ms = one.message, one.arrival.received_ms
            name = message.site, message.device
            if name not in self._devices:
                self._devices[name] = self._row("devices", ("site", "device"), name, "last_seen_ms", 0)
            boot = self._devices[name], message.boot_id
            if boot not in self._boots:
                booted_ms = latest_boot(message, came_ms)
                self._boots[boot] = self._row("boots", ("device_id", "boot_id"), boot, "booted_ms", booted_ms)

    def forget(self) -> None:
        """Look up every row anew."""
        self._devices.clear()
        self._boots.clear()

    def _row(self, table: str, key: tuple[str, str], values: tuple[object, str], beside: str, value: int) -> int:
        """Return the row with this key, which is made where there is none."""
        self._database.execute(
            f"INSERT INTO {table} ({key[0]}, {key[1]}, {beside}) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (*values, value),
        )
        found = self._database.rows(f"SELECT id FROM {table} WHERE {key[0]} = ? AND {key[1]} = ?", values)
        return int(found[0][0])

    def place(self, received: Sequence[Received]) -> tuple[list[Placed], dict[int, int]]:
        """Lock the devices of these messages, and find when each was made.

        A device without a clock is placed by its monotonic one, from the earliest moment at which it can have booted.

        Returns:
            the messages, and by how many ms boots were earlier than was thought, of those by which messages were placed
            before (for `move`).
        """
        if not received:
            return [], {}
        rows = [self._devices[one.message.site, one.message.device] for one in received]
        boots = [self._boots[row, one.message.boot_id] for row, one in zip(rows, received, strict=True)]
        self._lock(set(rows))
        known = self._known(set(boots))
        earlier: dict[int, int] = {}
        for boot, one in zip(boots, received, strict=True):
            gain = known[boot].booted_ms - latest_boot(one.message, one.arrival.received_ms)
            if gain > IMPROVED_MS:
                known[boot].booted_ms -= gain
                earlier[boot] = earlier.get(boot, 0) + gain
        placed = []
        for boot, one in zip(boots, received, strict=True):
            own_ms = clock_time(one.message, one.arrival.received_ms)
            by_boot_ms = known[boot].booted_ms + one.message.uptime_ms
            at_ms = by_boot_ms if own_ms is None else own_ms
            placed.append(Placed(one, known[boot].device_id, boot, at_ms, own_ms is not None))
        self._database.execute_many(
            "UPDATE boots SET booted_ms = booted_ms - ? WHERE id = ?",
            [(gain, boot) for boot, gain in sorted(earlier.items())],
        )
        for boot in {one.boot for one in placed if not one.clock and not known[one.boot].clockless}:
            self._database.execute("UPDATE boots SET clockless = true WHERE id = ?", (boot,))
        return placed, {boot: gain for boot, gain in earlier.items() if known[boot].clockless}

    def _lock(self, devices: Collection[int]) -> None:
        ids = sorted(devices)
        self._database.rows(
            f"SELECT id FROM devices WHERE id IN ({marks(ids)}) ORDER BY id {self._database.for_update}",
            ids,
        )

    def _known(self, boots: Collection[int]) -> dict[int, _Boot]:
        ids = sorted(boots)
        found = self._database.rows(
            f"SELECT id, device_id, booted_ms, clockless FROM boots WHERE id IN ({marks(ids)})",
            ids,
        )
        return {boot: _Boot(device, booted_ms, bool(clockless)) for boot, device, booted_ms, clockless in found}

    def moved_times(self, earlier: dict[int, int]) -> set[int]:
        """Return the times of the rows that `move` would make."""
        return {
            int(at_ms)
            for boot, gain in earlier.items()
            for table in PARTITIONED
            for (at_ms,) in self._database.rows(
                f"SELECT DISTINCT at_ms - ? FROM {table} WHERE boot = ? AND NOT clock",
                (gain, boot),
            )
        }

    def move(self, earlier: dict[int, int]) -> None:
        """Move the messages that were placed by boots which were earlier than was thought."""
        for boot, gain in earlier.items():
            for table in _MOVED:
                self._database.execute(
                    f"UPDATE {table} SET at_ms = at_ms - ? WHERE boot = ? AND NOT clock",
                    (gain, boot),
                )

    def number(self, placed: Iterable[Placed], fresh: Collection[Key]) -> None:
        """Take the numbers of messages that were new into the runs of their programs."""
        new = {one.key: one for one in placed if one.key in fresh}
        if not new:
            return
        boots = sorted({one.boot for one in new.values()})
        runs: dict[int, list[Run]] = {boot: [] for boot in boots}
        for values in self._database.rows(
            "SELECT id, boot, first_seq, last_seq, last_uptime_ms, seen, dropped, connections FROM runs "
            f"WHERE boot IN ({marks(boots)})", boots,
        ):  # fmt: skip
            runs[values[1]].append(Run(*values))
        changed = {}
        for one in sorted(new.values(), key=lambda one: one.key):
            message = one.message
            run = run_of(runs[one.boot], one.boot, message.seq, message.uptime_ms)
            run.add(message.seq, message.uptime_ms)
            if isinstance(message, Telemetry):
                run.dropped = max(run.dropped, message.messages_dropped)
            run.connections += isinstance(message, Birth)
            changed[id(run)] = run
        self._database.execute_many(
            "UPDATE runs SET first_seq = ?, last_seq = ?, last_uptime_ms = ?, seen = ?, dropped = ?, connections = ? "
            "WHERE id = ?",
            [(*_figures(run), run.id) for run in changed.values() if run.id],
        )
        self._database.execute_many(
            "INSERT INTO runs (first_seq, last_seq, last_uptime_ms, seen, dropped, connections, boot) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(*_figures(run), run.boot) for run in changed.values() if not run.id],
        )


def _figures(run: Run) -> tuple[int, ...]:
    return run.first_seq, run.last_seq, run.last_uptime_ms, run.seen, run.dropped, run.connections
