"""The samples on the disk: their state, cells, pictures, reviews and results.

Within a `transaction` of the database every method is part of it. Every method raises StorageError as Database does.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from edge.errors import SampleError
from edge.sample.cell_records import CellChanges
from edge.storage.database import Database

State = Literal["scanning", "review", "incomplete", "final", "discarded"]
"""Of a sample; where there is none that is scanned the device is idle."""

HIGHEST_NUMBER = (1 << 63) - 1
"""That a cell can have: SQLite knows no higher one."""

ABSTAINED_NAME = "abstained"
"""How a cell that is in no class is called where a text is needed."""


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A row.

    Attributes:
        id: identifier of the sample.
        code: the clinic's own.
        day: local date when it was started.
        state: what it is in.
        reason: why, in words, or empty.
        interruptions: how often its scanning was broken off and went on.
        boot_id: of the boot in which it was last written.
        uptime_s: monotonic clock when it was last written.
        changed_ms: wall time when it was last written, milliseconds since 1970 UTC.
        setup: what it is read with, as JSON.
        draft: its result so far, as JSON.
        session: token of its newest session, see `scan_marker`; empty when version 0.6 began that.
    """

    id: str
    code: str
    day: str
    state: State
    reason: str
    interruptions: int
    boot_id: str
    uptime_s: float
    changed_ms: int
    setup: str
    draft: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class StoredCell:
    """A cell with what a person said of it last. class_name: the classifier's, or `abstained`."""

    number: int
    island: int
    x_um: float
    y_um: float
    field: int
    score: float
    class_name: str
    prob: tuple[float, ...]
    reviewed: str | None
    reviewed_by: str | None
    reviewed_reason: str | None
    pictured: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was done; made_ms: wall time, milliseconds since 1970 UTC."""

    made_ms: int
    clock_synchronised: bool
    boot_id: str
    uptime_s: float


_SAMPLE = "id, code, day, state, reason, interruptions, boot_id, uptime_s, changed_ms, setup, draft, session"

_NEWEST_REVIEWS = """
SELECT sample_id, number, class, by, reason FROM reviews
WHERE id IN (SELECT MAX(id) FROM reviews WHERE sample_id = ? GROUP BY number)
"""


class Store:
    """Reads and writes the tables of samples."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # Samples.

    def add(self, sample: StoredSample) -> None:
        """Store a new sample.

        Raises:
            SampleError: Another is being scanned, or its code was used that day.
        """
        try:
            self.database.write(
                f"INSERT INTO samples ({_SAMPLE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                sample.id, sample.code, sample.day, sample.state, sample.reason, sample.interruptions,
                sample.boot_id, sample.uptime_s, sample.changed_ms, sample.setup, sample.draft, sample.session,
            )  # fmt: skip
        except sqlite3.IntegrityError as error:
            raise SampleError(self._taken(sample)) from error

    def _taken(self, sample: StoredSample) -> str:
        scanned = self.scanned()
        if scanned is not None:
            return f"sample {scanned.code} is being scanned. Stop it first: one sample is read at a time"
        return (
            f"sample code {sample.code} was used on {sample.day} already. Give another, such as {sample.code}-2, "
            "or reopen or discard the earlier sample"
        )

    def scanned(self) -> StoredSample | None:
        """Return the sample that is being scanned."""
        found = self.database.read(f"SELECT {_SAMPLE} FROM samples WHERE state = 'scanning'")  # noqa: S608
        return StoredSample(*found[0]) if found else None

    def find(self, name: str) -> StoredSample:
        """Return a sample by its identifier, or the newest with that code.

        Raises:
            SampleError: There is none.
        """
        found = self.database.read(
            f"SELECT {_SAMPLE} FROM samples WHERE id = ? OR code = ? "  # noqa: S608
            "ORDER BY id = ? DESC, state = 'discarded', rowid DESC LIMIT 1",
            name, name, name,
        )  # fmt: skip
        if not found:
            # Without the name that was asked for: it may be a person's, and errors are logged.
            raise SampleError("there is no such sample on this device. `sicklescope sample list` shows those kept")
        return StoredSample(*found[0])

    def newest(self, limit: int = 50) -> list[StoredSample]:
        """Return the newest samples, the newest first."""
        found = self.database.read(f"SELECT {_SAMPLE} FROM samples ORDER BY rowid DESC LIMIT ?", limit)  # noqa: S608
        return [StoredSample(*row) for row in found]

    def change(self, sample: StoredSample, state: State, reason: str, by: str, moment: Moment) -> StoredSample:
        """Bring a sample into a state, and note who did it and why; return it as it is then.

        `interruptions` and `session` of the sample are stored with the state.

        Raises:
            SampleError: Another sample is being scanned, or this one is no longer there.
        """
        changed = replace(
            sample,
            state=state,
            reason=reason,
            boot_id=moment.boot_id,
            uptime_s=moment.uptime_s,
            changed_ms=moment.made_ms,
        )
        with self.database.transaction() as connection:
            try:
                found = connection.execute(
                    "UPDATE samples SET state = ?, reason = ?, interruptions = ?, session = ?, boot_id = ?, "
                    "uptime_s = ?, changed_ms = ? WHERE id = ?",
                    (state, reason, sample.interruptions, sample.session, moment.boot_id, moment.uptime_s,
                     moment.made_ms, sample.id),
                )  # fmt: skip
            except sqlite3.IntegrityError as error:
                raise SampleError(self._taken(sample)) from error
            _require_row(found, sample)
            connection.execute(
                "INSERT INTO history (sample_id, state, reason, by, made_ms, clock_synchronised) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (sample.id, state, reason, by, moment.made_ms, moment.clock_synchronised),
            )
        return changed

    def history(self, sample_id: str) -> list[dict[str, Any]]:
        """Return what was done with a sample, the oldest first."""
        keys = ("state", "reason", "by", "made_ms", "clock_synchronised")
        found = self.database.read(
            f"SELECT {', '.join(keys)} FROM history WHERE sample_id = ? ORDER BY id",  # noqa: S608
            sample_id,
        )
        return [{**dict(zip(keys, row, strict=True)), "clock_synchronised": bool(row[-1])} for row in found]

    # Cells.

    def save(self, sample: StoredSample, draft: str, moment: Moment, changes: Iterable[CellChanges]) -> StoredSample:
        """Store how far a sample is, and return it as it is then.

        Args:
            sample: the row as it is.
            draft: the sample's result so far, as JSON.
            moment: now.
            changes: what the newest fields changed in its cells, in their order.

        Raises:
            SampleError: It is no longer there.
        """
        with self.database.transaction() as connection:
            found = connection.execute(
                "UPDATE samples SET draft = ?, boot_id = ?, uptime_s = ?, changed_ms = ? WHERE id = ?",
                (draft, moment.boot_id, moment.uptime_s, moment.made_ms, sample.id),
            )
            _require_row(found, sample)
            for one in changes:
                self._save_field(connection, sample.id, one)
        return replace(sample, draft=draft, boot_id=moment.boot_id, uptime_s=moment.uptime_s, changed_ms=moment.made_ms)

    def _save_field(self, connection: sqlite3.Connection, sample_id: str, changes: CellChanges) -> None:
        for kept, dropped in changes.joined:
            # The one that goes on may never have been seen whole: it then takes the other's row.
            connection.execute(
                "UPDATE OR IGNORE cells SET number = ? WHERE sample_id = ? AND number = ?", (kept, sample_id, dropped)
            )
            connection.execute("DELETE FROM cells WHERE sample_id = ? AND number = ?", (sample_id, dropped))
        connection.executemany(
            "DELETE FROM cells WHERE sample_id = ? AND number = ?", [(sample_id, number) for number in changes.gone]
        )
        connection.executemany(
            "INSERT INTO cells (sample_id, number, island, x_um, y_um, field, score, class, prob) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sample_id, number) DO UPDATE SET "
            "island = excluded.island, x_um = excluded.x_um, y_um = excluded.y_um, field = excluded.field, "
            "score = excluded.score, class = excluded.class, prob = excluded.prob",
            [
                (sample_id, cell.number, cell.island, cell.x_um, cell.y_um, cell.field, cell.score, cell.class_name,
                 json.dumps(cell.prob))
                for cell in changes.cells
            ],
        )  # fmt: skip
        connection.executemany(
            "UPDATE cells SET class = ?, prob = ? WHERE sample_id = ? AND number = ?",
            [(name, json.dumps(prob), sample_id, number) for number, name, prob in changes.renamed],
        )
        named = [*((cell.number, cell.class_name) for cell in changes.cells), *(one[:2] for one in changes.renamed)]
        connection.executemany(
            "DELETE FROM crops WHERE sample_id = ? AND number = ?",
            [(sample_id, number) for number, name in named if name not in (None, "sickle")],
        )
        connection.executemany(
            "INSERT INTO crops (sample_id, number, jpeg) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(sample_id, number, jpeg) for number, jpeg in changes.crops.items()],
        )

    def next_number(self, sample_id: str) -> int:
        """Return a number above those of all cells of a sample."""
        ((highest,),) = self.database.read("SELECT MAX(number) FROM cells WHERE sample_id = ?", sample_id)
        return 0 if highest is None else int(highest) + 1

    def cells(
        self, sample_id: str, class_name: str | None = None, offset: int = 0, limit: int = -1
    ) -> list[StoredCell]:
        """Return a sample's cells, lowest number first.

        Args:
            sample_id: identifier of the sample.
            class_name: only those that the classifier gave this class, or `abstained`.
            offset: leave out so many.
            limit: return at most so many, unless negative.
        """
        found = self.database.read(
            f"WITH newest AS ({_NEWEST_REVIEWS}) "  # noqa: S608
            "SELECT c.number, c.island, c.x_um, c.y_um, c.field, c.score, c.class, c.prob, n.class, n.by, n.reason, "
            "EXISTS (SELECT 1 FROM crops p WHERE p.sample_id = c.sample_id AND p.number = c.number) "
            "FROM cells c LEFT JOIN newest n ON n.number = c.number "
            "WHERE c.sample_id = ? AND (? IS NULL OR COALESCE(c.class, 'abstained') = ?) "
            "ORDER BY c.number LIMIT ? OFFSET ?",
            sample_id, sample_id, class_name, class_name, limit, offset,
        )  # fmt: skip
        return [_cell(row) for row in found]

    def crop(self, sample_id: str, number: int) -> bytes | None:
        """Return the JPEG of a cell, if it is kept."""
        found = self.database.read("SELECT jpeg FROM crops WHERE sample_id = ? AND number = ?", sample_id, number)
        return found[0][0] if found else None

    # Reviews and results.

    def review(self, sample_id: str, classes: Mapping[int, str], by: str, reason: str, moment: Moment) -> None:
        """Note what a person says of cells; raises SampleError when the sample has no such cell."""
        with self.database.transaction() as connection:
            try:
                connection.executemany(
                    "INSERT INTO reviews (sample_id, number, class, by, reason, made_ms, clock_synchronised) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (sample_id, number, name, by, reason, moment.made_ms, moment.clock_synchronised)
                        for number, name in classes.items()
                    ],
                )
            except sqlite3.IntegrityError as error:
                known = {cell.number for cell in self.cells(sample_id)}
                missing = ", ".join(str(number) for number in sorted(set(classes) - known))
                raise SampleError(
                    f"the sample has no cell {missing}. `sicklescope sample show` lists its cells"
                ) from error

    def reviewed(self, sample_id: str) -> Counter[tuple[str, str]]:
        """Count a sample's reviewed cells by (automatic class or `abstained`, reviewed class)."""
        found = self.database.read(
            f"SELECT COALESCE(c.class, 'abstained'), n.class, COUNT(*) FROM ({_NEWEST_REVIEWS}) n "  # noqa: S608
            "JOIN cells c ON c.sample_id = n.sample_id AND c.number = n.number GROUP BY 1, 2",
            sample_id,
        )
        return Counter({(automatic, person): count for automatic, person, count in found})

    def add_result(self, result_id: str, sample_id: str, revision: int, payload: str) -> None:
        """Store a revision of a sample's result."""
        self.database.write(
            "INSERT INTO results (id, sample_id, revision, payload) VALUES (?, ?, ?, ?)",
            result_id, sample_id, revision, payload,
        )  # fmt: skip

    def result_ids(self, sample_id: str) -> list[str]:
        """Return the identifiers of a sample's results, revision 1 first."""
        found = self.database.read("SELECT id FROM results WHERE sample_id = ? ORDER BY revision", sample_id)
        return [result_id for (result_id,) in found]

    def results(self, sample_id: str) -> list[str]:
        """Return the payloads of a sample's results, revision 1 first."""
        found = self.database.read("SELECT payload FROM results WHERE sample_id = ? ORDER BY revision", sample_id)
        return [payload for (payload,) in found]


def _require_row(changed: sqlite3.Cursor, sample: StoredSample) -> None:
    """Raise SampleError when an UPDATE found no row."""
    if not changed.rowcount:
        raise SampleError(f"sample {sample.code} is no longer on this device: another program erased it")


def _cell(row: tuple[Any, ...]) -> StoredCell:
    number, island, x_um, y_um, field, score, name, prob, reviewed, by, reason, pictured = row
    return StoredCell(
        number, island, x_um, y_um, field, score, name or ABSTAINED_NAME, tuple(json.loads(prob)), reviewed, by, reason,
        bool(pictured),
    )  # fmt: skip
