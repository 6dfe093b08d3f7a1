"""Messages into rows: a batch is one transaction, and the same message twice changes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from edge.publish.result_messages import Progress
from fleet.database.base import Database, DatabaseError, RefusedValueError
from fleet.rows.devices import Devices
from fleet.rows.news import write_events, write_telemetry
from fleet.rows.placed import TABLES, Key, Placed
from fleet.rows.present import show
from fleet.rows.received import Arrival, Reason, Received, Refused, examine
from fleet.rows.refusals import write_refusals
from fleet.rows.results import write_results

_DAY_MS = 86_400_000


class _NotReadyError(Exception):
    """Rows of some times need partitions."""

    def __init__(self, at_ms: Collection[int]) -> None:
        super().__init__()
        self.at_ms = at_ms


@dataclass(slots=True)
class Written:
    """What became of a batch: messages new and repeated by kind, refusals by reason.

    delays_s: from device to row, of new messages whose device has a clock and that were not held back.
    """

    new: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    delays_s: list[float] = field(default_factory=list)

    def add(self, other: Written) -> None:
        """Add what became of another batch."""
        self.new += other.new
        self.repeated += other.repeated
        self.refused += other.refused
        self.delays_s += other.delays_s


class Writer:
    """Writes what comes from the broker; used by one thread."""

    def __init__(
        self,
        database: Database,
        kept_days: Mapping[str, int],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Write to a database; kept_days: of the partitioned tables; what is older is not written."""
        self._database, self._kept_days, self._now_ms = database, kept_days, now_ms
        self._devices = Devices(database)

    def write(self, arrivals: Sequence[Arrival]) -> Written:
        """Write a batch; on return it is in the database.

        A message that the database cannot hold is found by halves, and set aside. Raises DatabaseError when the
        database cannot be used; then nothing of the rest is written.
        """
        try:
            return self._write([examine(one) for one in arrivals])
        except DatabaseError:
            self._devices.forget()
            raise

    def _write(self, found: Sequence[Received | Refused]) -> Written:
        try:
            return self._prepared(found)
        except RefusedValueError as error:
            if len(found) > 1:
                middle = len(found) // 2
                written = self._write(found[:middle])
                written.add(self._write(found[middle:]))
                return written
            only = found[0]
            if isinstance(only, Refused):
                raise DatabaseError(f"{self._database.name} takes no refusal: {error}") from error
            named = only.message
            refused = Refused(only.arrival, Reason.DATABASE_REFUSED, str(error), named.site, named.device, named.kind)
            return self._prepared([refused])

    def _prepared(self, found: Sequence[Received | Refused]) -> Written:
        while True:
            try:
                return self._attempt(found)
            except _NotReadyError as error:
                self._database.prepare(error.at_ms)

    def _attempt(self, found: Sequence[Received | Refused]) -> Written:
        received = [one for one in found if isinstance(one, Received)]
        refused = [one for one in found if isinstance(one, Refused)]
        self._devices.know(received)
        with self._database.transaction():
            placed, earlier = self._devices.place(received)
            kept = self._kept(placed, refused)
            times = {one.at_ms for one in kept if one.message.kind in TABLES} | self._devices.moved_times(earlier)
            if not self._database.is_ready(times):
                raise _NotReadyError(times)
            self._devices.move(earlier)
            fresh = write_telemetry(self._database, kept) | write_events(self._database, kept)
            fresh |= write_results(self._database, kept, refused)
            fresh |= {one.key for one in kept if isinstance(one.message, Progress)}
            self._devices.number(kept, fresh)
            show(self._database, placed)
            write_refusals(self._database, refused)
        return self._summary(kept, fresh, refused)

    def _kept(self, placed: Sequence[Placed], refused: list[Refused]) -> list[Placed]:
        """Leave out telemetry and events from before what is kept; they would make partitions again."""
        now_ms = self._now_ms()
        kept = []
        for one in placed:
            table = TABLES.get(one.message.kind)
            days = self._kept_days[table] if table else 0
            if table is None or one.at_ms >= now_ms - days * _DAY_MS:
                kept.append(one)
            elif not one.received.arrival.retained:
                named = one.message
                detail = f"made more than {days} days ago"
                refused.append(
                    Refused(one.received.arrival, Reason.TOO_OLD, detail, named.site, named.device, named.kind)
                )
        return kept

    def _summary(self, kept: Sequence[Placed], fresh: Collection[Key], refused: Sequence[Refused]) -> Written:
        written = Written(refused=Counter(one.reason.value for one in refused))
        now_ms = self._now_ms()
        for one in kept:
            new = one.key in fresh
            (written.new if new else written.repeated)[one.message.kind] += 1
            if new and one.clock and not one.message.historical and not one.received.arrival.retained:
                written.delays_s.append((now_ms - one.message.ts_ms) / 1000)
        return written
