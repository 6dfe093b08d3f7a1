"""Results into rows: each once by its `id`, and none of a sample that was erased."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from uuid import UUID

from edge.publish.result_messages import Result
from fleet.database.base import Database, marks
from fleet.database.schema import RESULT_COLUMNS
from fleet.rows.moments import read_at
from fleet.rows.placed import COLUMNS, Key, Placed
from fleet.rows.received import Reason, Refused

CONTROL_FLAG = "control"
"""In `flags` of a control slide's reading."""

_COLUMNS = (*COLUMNS, "id", "sample_id", "revision", "sample", "control", "read_ms", "read_day", "payload")
_HISTORICAL, _FRESH = '"historical":true', '"historical":false'


def write_results(database: Database, placed: Sequence[Placed], refused: list[Refused]) -> set[Key]:
    """Write new results; return their keys, and add to `refused` those that cannot be here.

    A repeat is the same but for `historical`; anything else under the same `id`, or as the same revision, is refused.
    """
    results = [(one, one.message) for one in placed if isinstance(one.message, Result)]
    if not results:
        return set()
    database.lock("results", alone=False)  # so that `erase` comes before or after, and never between
    erased = _erased(database, {str(result.sample_id) for _, result in results})
    new: set[Key] = set()
    for one, result in results:
        if str(result.sample_id) in erased:
            refused.append(_refused(one, Reason.ERASED, "its sample was erased"))
        elif database.rows(_INSERT, _values(one, result)):
            new.add(one.key)
        else:
            _compare(database, str(result.id), one, refused)
    return new


_NAMES = (*_COLUMNS, *RESULT_COLUMNS)
_INSERT = (
    f"INSERT INTO results ({', '.join(f'{chr(34)}{name}{chr(34)}' for name in _NAMES)}) VALUES ({marks(_NAMES)}) "
    "ON CONFLICT DO NOTHING RETURNING id"
)


def _values(one: Placed, result: Result) -> tuple[object, ...]:
    read_ms = read_at(result, one.at_ms)
    day = datetime.fromtimestamp(read_ms / 1000, timezone.utc).date().isoformat()
    own = (getattr(result, name) for name in RESULT_COLUMNS)
    return (
        *one.stamp(), str(result.id), str(result.sample_id), result.revision, result.sample,
        CONTROL_FLAG in result.flags.split(","), read_ms, day, one.received.text,
        *(str(value) if isinstance(value, UUID) else value for value in own),
    )  # fmt: skip


def _erased(database: Database, samples: set[str]) -> set[str]:
    ids = sorted(samples)
    found = database.rows(f"SELECT sample_id FROM tombstones WHERE sample_id IN ({marks(ids)})", ids)
    return {sample for (sample,) in found}


def _compare(database: Database, name: str, one: Placed, refused: list[Refused]) -> None:
    """Refuse what is no repeat of the result that is here."""
    there = database.rows("SELECT payload FROM results WHERE id = ?", (name,))
    if not there:
        refused.append(_refused(one, Reason.REVISION_TAKEN, "another result is this revision of the sample"))
    elif _undated(there[0][0]) != _undated(one.received.text):
        refused.append(_refused(one, Reason.ID_ALTERED, f"result {name} is here and says something else"))


def _undated(payload: str) -> str:
    return payload.replace(_HISTORICAL, _FRESH, 1)


def _refused(one: Placed, reason: Reason, detail: str) -> Refused:
    message = one.message
    return Refused(one.received.arrival, reason, detail, message.site, message.device, message.kind)


def erase(database: Database, sample_id: str, erased_ms: int, reason: str) -> int:
    """Erase every result of a sample, also those that come later; return how many were here.

    Its code leaves telemetry, events and what was kept aside too.
    """
    with database.transaction():
        database.lock("results", alone=True)
        database.execute(
            "INSERT INTO tombstones (sample_id, erased_ms, reason) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (sample_id, erased_ms, reason),
        )
        for device, code in database.rows(
            "SELECT DISTINCT device_id, sample FROM results WHERE sample_id = ?", (sample_id,)
        ):
            database.execute("UPDATE telemetry SET sample = '' WHERE device_id = ? AND sample = ?", (device, code))
            database.execute("DELETE FROM events WHERE device_id = ? AND sample = ?", (device, code))
            database.execute("UPDATE devices SET sample = '' WHERE id = ? AND sample = ?", (device, code))
        for row, payload in database.rows("SELECT id, payload FROM set_aside"):
            if sample_id.encode() in bytes(payload):
                database.execute("DELETE FROM set_aside WHERE id = ?", (row,))
        return database.execute("DELETE FROM results WHERE sample_id = ?", (sample_id,))
