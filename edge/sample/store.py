"""The samples on the disk: their state, cells, pictures, reviews and results.

Within a `transaction` of the database every method is part of it. Every method raises StorageError as Database does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from edge.errors import SampleError
from edge.sample.cell_records import CellChanges
from edge.sample.cell_rows import StoredCell, cell_of, save_changes
from edge.sample.review.field_pictures import save_picture
from edge.sample.review.rows import COUNTED
from edge.sample.sample_row import COLUMNS, Moment, State, StoredSample, resealed, sample_of
from edge.storage.checksums import RESULT, checksum
from edge.storage.database import Database

HIGHEST_NUMBER = (1 << 40) - 1
"""That a cell can have: with it checksums stay within the whole numbers of SQLite."""

_OF_A_SAMPLE = ("reviews", "marks", "notes", "exports", "field_pictures", "crops", "cells", "results", "history")


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
                f"INSERT INTO samples ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                sample.id, sample.code, sample.day, sample.state, sample.reason, sample.interruptions,
                sample.boot_id, sample.uptime_s, sample.changed_ms, sample.setup, sample.draft, sample.session,
                sample.cells, sample.reviews, sample.checksum,
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
        found = self.database.read(f"SELECT {COLUMNS} FROM samples WHERE state = 'scanning'")  # noqa: S608
        return sample_of(found[0]) if found else None

    def find(self, name: str) -> StoredSample:
        """Return a sample by its identifier, or the newest with that code.

        Raises:
            SampleError: There is none.
        """
        found = self.database.read(
            f"SELECT {COLUMNS} FROM samples WHERE id = ? OR code = ? "  # noqa: S608
            "ORDER BY id = ? DESC, state = 'discarded', rowid DESC LIMIT 1",
            name, name, name,
        )  # fmt: skip
        if not found:
            # Without the name that was asked for: it may be a person's, and errors are logged.
            raise SampleError("there is no such sample on this device. `sicklescope sample list` shows those kept")
        return sample_of(found[0])

    def newest(self, limit: int = 50) -> list[StoredSample]:
        """Return the newest samples, the newest first."""
        found = self.database.read(f"SELECT {COLUMNS} FROM samples ORDER BY rowid DESC LIMIT ?", limit)  # noqa: S608
        return [sample_of(row) for row in found]

    def change(
        self,
        sample: StoredSample,
        state: State,
        reason: str,
        by: str,
        moment: Moment,
        interruptions: int | None = None,
        session: str | None = None,
    ) -> StoredSample:
        """Bring a sample into a state, and note who did it and why; return it as it is then.

        Args:
            sample: the row as it is.
            state: the new state.
            reason: why, in words, or empty.
            by: who does it.
            moment: now.
            interruptions: where it changes, how often scanning was broken off and went on.
            session: where it changes, the token of the session.

        Raises:
            SampleError: Another sample is being scanned, or this one is no longer there.
        """
        changed = resealed(
            sample,
            state=state,
            reason=reason,
            interruptions=sample.interruptions if interruptions is None else interruptions,
            session=sample.session if session is None else session,
            boot_id=moment.boot_id,
            uptime_s=moment.uptime_s,
            changed_ms=moment.made_ms,
        )
        with self.database.transaction() as connection:
            try:
                found = connection.execute(
                    "UPDATE samples SET state = ?, reason = ?, interruptions = ?, session = ?, crc32 = ?, "
                    "boot_id = ?, uptime_s = ?, changed_ms = ? WHERE id = ?",
                    (state, reason, changed.interruptions, changed.session, changed.crc32, moment.boot_id,
                     moment.uptime_s, moment.made_ms, sample.id),
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

    def erase(self, sample: StoredSample, by: str, reason: str, moment: Moment, orphans: bool = False) -> None:
        """Delete all rows of a sample, and leave a tombstone.

        Args:
            sample: the row as it is.
            by: who does it.
            reason: why, in words, or empty.
            moment: now.
            orphans: whether rows that are of no sample are deleted too; in a damaged one they may be its own.

        Raises:
            SampleError: It is no longer there.
        """
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO tombstones (sample_id, by, reason, erased_ms, clock_synchronised) VALUES (?, ?, ?, ?, ?)",
                (sample.id, by, reason, moment.made_ms, moment.clock_synchronised),
            )
            # One by one, for the keys of a damaged sample may not lead from one table to the next.
            for table in _OF_A_SAMPLE:
                connection.execute(f"DELETE FROM {table} WHERE sample_id = ?", (sample.id,))  # noqa: S608
            _require_row(connection.execute("DELETE FROM samples WHERE id = ?", (sample.id,)), sample)
            if orphans:
                alone = "sample_id NOT IN (SELECT id FROM samples)"
                connection.execute(f"DELETE FROM outbox WHERE id IN (SELECT id FROM results WHERE {alone})")  # noqa: S608
                for table in _OF_A_SAMPLE:
                    connection.execute(f"DELETE FROM {table} WHERE {alone}")  # noqa: S608

    def erase_unfound(self) -> None:
        """Delete what is left of erased samples, for a changed bit in an index hid it.

        Pictures and cells, which name nobody, are not looked through.
        """
        for table in ("results", "history", "reviews", "marks", "notes"):
            left = "NOT INDEXED WHERE sample_id IN (SELECT sample_id FROM tombstones)"
            if self.database.read(f"SELECT 1 FROM {table} {left} LIMIT 1"):  # noqa: S608
                self.database.rewrite_order()
                with self.database.transaction() as connection:
                    connection.execute(f"DELETE FROM outbox WHERE id IN (SELECT id FROM results {left})")  # noqa: S608
                    for one in _OF_A_SAMPLE:
                        connection.execute(f"DELETE FROM {one} {left}")  # noqa: S608

    def history(self, sample_id: str) -> list[dict[str, Any]]:
        """Return what was done with a sample, the oldest first."""
        keys = ("state", "reason", "by", "made_ms", "clock_synchronised")
        found = self.database.read(
            f"SELECT {', '.join(keys)} FROM history WHERE sample_id = ? ORDER BY id",  # noqa: S608
            sample_id,
        )
        return [{**dict(zip(keys, row, strict=True)), "clock_synchronised": bool(row[-1])} for row in found]

    # Cells.

    def save(
        self,
        sample: StoredSample,
        draft: str,
        moment: Moment,
        changes: Iterable[CellChanges],
        pictures_bytes_per_day: int = 0,
    ) -> StoredSample:
        """Store how far a sample is, and return it as it is then.

        Args:
            sample: the row as it is.
            draft: the sample's result so far, as JSON.
            moment: now.
            changes: what the newest fields changed in its cells, in their order.
            pictures_bytes_per_day: so much of pictures of fields is written in a day.

        Raises:
            SampleError: It is no longer there.
        """
        saved = resealed(
            sample, draft=draft, boot_id=moment.boot_id, uptime_s=moment.uptime_s, changed_ms=moment.made_ms
        )
        with self.database.transaction() as connection:
            found = connection.execute(
                "UPDATE samples SET draft = ?, crc32 = ?, boot_id = ?, uptime_s = ?, changed_ms = ? WHERE id = ?",
                (draft, saved.crc32, moment.boot_id, moment.uptime_s, moment.made_ms, sample.id),
            )
            _require_row(found, sample)
            for one in changes:
                save_changes(connection, sample.id, one)
                if one.picture is not None:
                    save_picture(connection, sample.id, one.picture, moment, pictures_bytes_per_day)
            return self.counted(saved, *self._rows(sample.id)[:2])

    def lost_rows(self, sample_id: str) -> str:
        """Return in words how many rows of a sample are not the number that was written.

        Empty when all are.
        """
        cells, reviews, cells_written, reviews_written = self._rows(sample_id)
        if (cells, reviews) == (cells_written, reviews_written):
            return ""
        return f"{cells} of its {cells_written} cells and {reviews} of its {reviews_written} reviews are there"

    def _rows(self, sample_id: str) -> tuple[int, int, int, int]:
        """Return how many rows of cells and reviews there are, and how many were written, as of one moment."""
        found = self.database.read(
            "SELECT (SELECT COUNT(*) FROM cells WHERE sample_id = ?1), "
            "(SELECT COUNT(*) FROM reviews WHERE sample_id = ?1) + (SELECT COUNT(*) FROM marks WHERE sample_id = ?1), "
            "cells, reviews FROM samples WHERE id = ?1",
            sample_id,
        )
        return found[0] if found else (0, 0, 0, 0)

    def counted(self, sample: StoredSample, cells: int, reviews: int) -> StoredSample:
        """Store how many rows a sample has, and return it as it is then.

        Within the transaction that wrote them.

        Raises:
            SampleError: It is no longer there.
        """
        counted = resealed(sample, cells=cells, reviews=reviews)
        with self.database.transaction() as connection:
            found = connection.execute(
                "UPDATE samples SET cells = ?, reviews = ?, crc32 = ? WHERE id = ?",
                (cells, reviews, counted.crc32, sample.id),
            )
            _require_row(found, sample)
        return counted

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
            f"WITH {COUNTED} "  # noqa: S608
            "SELECT c.number, c.island, c.x_um, c.y_um, c.field, c.score, c.class, c.prob, n.class, n.by, n.reason, "
            "EXISTS (SELECT 1 FROM crops p WHERE p.sample_id = c.sample_id AND p.number = c.number) "
            "FROM cells c LEFT JOIN counted n ON n.number = c.number "
            "WHERE c.sample_id = ? AND (? IS NULL OR COALESCE(c.class, 'abstained') = ?) "
            "ORDER BY c.number LIMIT ? OFFSET ?",
            sample_id, sample_id, class_name, class_name, limit, offset,
        )  # fmt: skip
        return [cell_of(row) for row in found]

    def crop(self, sample_id: str, number: int) -> bytes | None:
        """Return the JPEG of a cell, if it is kept."""
        found = self.database.read("SELECT jpeg FROM crops WHERE sample_id = ? AND number = ?", sample_id, number)
        return found[0][0] if found else None

    def pictured_normals(self, sample_id: str) -> list[int]:
        """Return the numbers of the cells called normal of which a picture is kept."""
        found = self.database.read(
            "SELECT number FROM cells JOIN crops USING (sample_id, number) WHERE sample_id = ? AND class = 'normal'",
            sample_id,
        )
        return [number for (number,) in found]

    # Results.

    def add_result(self, result_id: str, sample_id: str, revision: int, number: int | None, payload: str) -> None:
        """Store a revision of a sample's result, under its number among all of the device."""
        self.database.write(
            "INSERT INTO results (id, sample_id, revision, number, payload, crc32) VALUES (?, ?, ?, ?, ?, ?)",
            result_id, sample_id, revision, number, payload, checksum(result_id, sample_id, revision, payload),
        )  # fmt: skip

    def result_ids(self, sample_id: str) -> list[str]:
        """Return the identifiers of a sample's results, revision 1 first."""
        found = self.database.read("SELECT id FROM results WHERE sample_id = ? ORDER BY revision", sample_id)
        return [result_id for (result_id,) in found]

    def results(self, sample_id: str) -> list[str | None]:
        """Return the payloads of a sample's results, revision 1 first.

        None: it is not what was written.
        """
        found = self.database.read(
            f"SELECT payload, crc32 IS NULL OR crc32 = {RESULT} FROM results WHERE sample_id = ? "  # noqa: S608
            "ORDER BY revision",
            sample_id,
        )
        return [payload if whole else None for payload, whole in found]


def _require_row(changed: sqlite3.Cursor, sample: StoredSample) -> None:
    """Raise SampleError when an UPDATE found no row."""
    if not changed.rowcount:
        raise SampleError(f"sample {sample.code} is no longer on this device: another program erased it")
