"""Results wait here until the broker has taken them: a table of the device's database."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

from edge.storage.checksums import RESULT as RESULT_CHECKSUM
from edge.storage.database import Database

KEPT = {"event": 1000, "telemetry": 8640}
"""So many of each kind are stored, the newest; telemetry of a day at one in ten seconds. Results have no bound."""

RESULT = "result"

UNHEARD_SHARE = 0.01
"""Of the disk, for results that the broker took while nobody subscribed; beyond it the oldest leave the outbox."""


@dataclass(frozen=True, slots=True)
class News:
    """An event or telemetry to be stored.

    Kind and topic as in `edge.publish.messages`, payload as it is sent.
    """

    kind: str
    topic: str
    payload: str


@dataclass(frozen=True, slots=True)
class Row:
    """A stored message. whole: its payload is the one that was stored, by its checksum.

    created_ms: wall time, milliseconds since 1970 UTC. refused_reason: the broker's, or empty.
    """

    id: str
    kind: str
    topic: str
    payload: str
    whole: bool
    created_ms: int
    refused_reason: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the broker answered to a message. reason: its own, where it refused."""

    outcome: Literal["taken", "unheard", "refused"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How many results wait for the broker, it has refused, or it took while nobody subscribed."""

    pending: int
    refused: int
    unheard: int = 0


class Outbox:
    """Results by UUID, and behind them events and telemetry that found no connection.

    Each oldest first.

    When `put` returns, the result is on the disk, whatever happens next. Within a `transaction` of the database a
    `put` is part of it. Any thread may call it, and other programs may have the same database open. Every method
    raises StorageError as Database does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, result_id: UUID | str, topic: str, payload: str) -> None:
        """Store a result as pending; on return it is on the disk.

        One that is there already stays as it is.
        """
        self._insert(str(result_id), RESULT, topic, payload)

    def put_again(self, result_id: UUID | str, topic: str, payload: str) -> None:
        """Store a result as pending though it has left or was refused.

        One that is pending keeps its place.
        """
        with self._database.transaction():
            self._database.write("DELETE FROM outbox WHERE id = ? AND (unheard OR state <> 'pending')", str(result_id))
            self.put(result_id, topic, payload)

    def store(self, news: Sequence[News]) -> int:
        """Store events and telemetry as pending, all or none.

        Returns how many older ones had to go for them.
        """
        with self._database.transaction():
            for one in news:
                self._insert(str(uuid4()), one.kind, one.topic, one.payload)
            return sum(self._forget_oldest(kind) for kind in {one.kind for one in news})

    def _insert(self, row_id: str, kind: str, topic: str, payload: str) -> None:
        self._database.write(
            "INSERT INTO outbox (id, kind, topic, payload, crc32, created_ms) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO NOTHING",
            row_id, kind, topic, payload, _checksum(payload), time.time_ns() // 1_000_000,
        )  # fmt: skip

    def _forget_oldest(self, kind: str) -> int:
        return self._database.write(
            "DELETE FROM outbox WHERE kind = ? AND rowid <= "
            "(SELECT rowid FROM outbox WHERE kind = ? ORDER BY rowid DESC LIMIT 1 OFFSET ?)",
            kind, kind, KEPT[kind],
        )  # fmt: skip

    def pending(self, limit: int = -1) -> list[Row]:
        """Return what waits for the broker: results, then the rest, each oldest first.

        `limit` rows unless negative.
        """
        return self._rows("pending", False, limit)

    def refused(self) -> list[Row]:
        """Return the results that the broker refused, oldest first."""
        return self._rows("refused", False, -1)

    def unheard(self) -> list[Row]:
        """Return the results that the broker took while nobody subscribed, oldest first."""
        return self._rows("pending", True, -1)

    def _rows(self, state: str, unheard: bool, limit: int) -> list[Row]:
        found = self._database.read(
            # As bytes, for those of a damaged payload may be no text at all.
            "SELECT id, kind, topic, CAST(payload AS BLOB), crc32, created_ms, refused_reason FROM outbox "
            "WHERE state = ? AND unheard = ? ORDER BY kind <> 'result', rowid LIMIT ?",
            state, unheard, limit,
        )  # fmt: skip
        return [
            Row(row_id, kind, topic, payload.decode(errors="replace"), zlib.crc32(payload) == crc32, created_ms, reason)
            for row_id, kind, topic, payload, crc32, created_ms, reason in found
        ]

    def delete(self, result_id: UUID | str) -> None:
        """Forget a message, because the broker has taken it."""
        self._database.write("DELETE FROM outbox WHERE id = ?", str(result_id))

    def forget_sample(self, code: str) -> None:
        """Forget the events and telemetry that name a sample.

        Results are told apart by their identifier.
        """
        self._database.write(
            "DELETE FROM outbox WHERE kind <> 'result' AND instr(payload, ?)", f'"sample":{json.dumps(code)}'
        )

    def mark_refused(self, result_id: UUID | str, reason: str) -> None:
        """Keep a result that the broker refused; it is not sent again before `resend`."""
        self._database.write(
            "UPDATE outbox SET state = 'refused', refused_reason = ? WHERE id = ?", reason, str(result_id)
        )

    def settle(self, answers: Mapping[str, Settlement]) -> None:
        """Write the broker's answers by identifier, all or none."""
        with self._database.transaction():
            for result_id, answer in answers.items():
                if answer.outcome == "taken":
                    self.delete(result_id)
                elif answer.outcome == "refused":
                    self.mark_refused(result_id, answer.reason)
                else:
                    self._database.write("UPDATE outbox SET unheard = 1 WHERE id = ?", result_id)

    def retry_unheard(self) -> int:
        """Make pending again what was taken while nobody subscribed.

        Beyond a share of the disk the oldest leave the outbox, where the samples' own store still has them; returns how
        many.
        """
        with self._database.transaction():
            left = self._database.write(
                "DELETE FROM outbox WHERE id IN (SELECT id FROM (SELECT id, SUM(length(payload)) OVER "
                "(ORDER BY rowid DESC) AS bytes FROM outbox WHERE unheard) WHERE bytes > ?)",
                int(UNHEARD_SHARE * shutil.disk_usage(self._database.path.parent).total),
            )
            # And what a changed bit has brought into no state at all.
            self._database.write(
                "UPDATE outbox SET unheard = 0, state = 'pending' WHERE unheard OR state NOT IN ('pending', 'refused')"
            )
            return left

    def mend(self, result_id: str) -> bool:
        """Take a damaged result from the sample store again; return whether it is whole there."""
        whole = f"FROM results WHERE id = ? AND crc32 = {RESULT_CHECKSUM}"
        return bool(
            self._database.write(
                f"UPDATE outbox SET (payload, crc32) = (SELECT payload, crc32(CAST(payload AS BLOB)) {whole}) "  # noqa: S608
                f"WHERE id = ? AND EXISTS (SELECT 1 {whole})",
                result_id, result_id, result_id,
            )
        )  # fmt: skip

    def resend(self) -> int:
        """Make the refused results pending again; returns how many."""
        return self._database.write("UPDATE outbox SET state = 'pending', refused_reason = '' WHERE state = 'refused'")

    def counts(self) -> OutboxCounts:
        """Count the results that are kept."""
        statement = (
            "SELECT CASE WHEN unheard THEN 'unheard' ELSE state END, COUNT(*) FROM outbox "
            "WHERE kind = 'result' GROUP BY 1"
        )
        found = dict(self._database.read(statement))
        return OutboxCounts(found.get("pending", 0), found.get("refused", 0), found.get("unheard", 0))


def _checksum(payload: str) -> int:
    return zlib.crc32(payload.encode())
