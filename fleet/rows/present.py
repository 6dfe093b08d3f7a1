"""What is newest of each device: its row in `devices`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.publish.messages import Birth, Status, Telemetry
from edge.publish.result_messages import Progress, ResultIndex
from fleet.database.base import Database, marks
from fleet.rows.placed import Placed

SHARED_MS = 60_000
"""A device that speaks so long after another boot of its name began is a second one of that name."""


NEWEST: dict[str, tuple[str, dict[str, str]]] = {
    Status.kind: ("state_ms", {"state": "state", "state_reason": "reason"}),
    Birth.kind: ("birth_ms", {name: name for name in (
        "sicklescope_version", "runtime", "detector_version", "classifier_version", "classifier_sha256", "camera"
    )}),
    Progress.kind: ("progress_ms", {name: name for name in ("sample", "red_cells", "sickle")}),
    ResultIndex.kind: ("held_ms", {"held": "held"}),
    Telemetry.kind: ("telemetry_ms", {name: name for name in (
        "outbox_pending", "outbox_refused", "temperature_c", "disk_free_mb", "certificate_ends_ms",
        "models_serial", "models_state",
    )}),
}  # fmt: skip
"""By message: the column that says since when, and the columns that it fills with its keys."""


def show(database: Database, placed: Sequence[Placed]) -> None:
    """Write what is newest of the devices, which are locked."""
    newest: dict[tuple[int, str], Placed] = {}
    seen: dict[int, int] = {}
    for one in placed:
        present = not one.message.historical or one.received.arrival.retained
        if one.message.kind in NEWEST and present:
            newest[one.device_id, one.message.kind] = one
        seen[one.device_id] = max(seen.get(one.device_id, 0), _seen_ms(one))
    for kind, (since, columns) in NEWEST.items():
        database.execute_many(
            f"UPDATE devices SET {', '.join(f'{name} = ?' for name in columns)}, {since} = ? "
            f"WHERE id = ? AND coalesce({since}, 0) <= ?",
            [(*(getattr(one.message, key) for key in columns.values()), one.received_ms, device, one.received_ms)
             for (device, of), one in sorted(newest.items(), key=lambda item: item[0][0]) if of == kind],
        )  # fmt: skip
    database.execute_many(
        "UPDATE devices SET last_seen_ms = ? WHERE id = ? AND last_seen_ms < ?",
        [(seen_ms, device, seen_ms) for device, seen_ms in sorted(seen.items())],
    )
    _note_shared_names(database, [one for one in placed if _is_live(one)])


def _seen_ms(one: Placed) -> int:
    """Return when the device was there: a retained message tells of then, a last will of nothing."""
    if isinstance(one.message, Status) and one.message.state == "offline":
        return 0
    if one.received.arrival.retained:
        return one.at_ms if one.clock else 0
    return one.received_ms


def _is_live(one: Placed) -> bool:
    """Say whether no broker can have held a message back: only such tell which of two boots is the present one."""
    message = one.message
    live = isinstance(message, Progress | Birth) or (isinstance(message, Status) and message.state != "offline")
    return live and not one.received.arrival.retained and not message.historical


def _note_shared_names(database: Database, live: Iterable[Placed]) -> None:
    """Find devices of which two boots speak by turns."""
    by_device = {one.device_id: one for one in live}
    if not by_device:
        return
    ids = sorted(by_device)
    for device, boot, since_ms in database.rows(
        f"SELECT id, newest_boot, newest_boot_ms FROM devices WHERE id IN ({marks(ids)})",
        ids,
    ):
        one = by_device[device]
        if boot is None or one.boot > boot:  # rows of boots are numbered as they came
            database.execute(
                "UPDATE devices SET newest_boot = ?, newest_boot_ms = ? WHERE id = ?",
                (one.boot, one.received_ms, device),
            )
        elif one.boot < boot and one.received_ms > since_ms + SHARED_MS:
            database.execute("UPDATE devices SET name_shared_ms = ? WHERE id = ?", (one.received_ms, device))
