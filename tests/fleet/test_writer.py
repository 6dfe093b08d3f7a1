"""Messages into rows, in both databases: each once, in its place, and what cannot be there is named."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from benchmarks.fleet_devices import VirtualDevice
from edge.errors import ConfigError
from edge.publish.message_base import Message, topic
from edge.storage.result_numbers import HeldResults
from fleet.database.base import Database, DatabaseError
from fleet.database.postgresql import PostgreSQL
from fleet.database.schema import VERSION
from fleet.database.sqlite import SQLite
from fleet.missing import SETTLED_MS, count_missing, missing_of
from fleet.reconsider import reconsider
from fleet.rows.received import Arrival, Reason
from fleet.rows.results import erase
from fleet.rows.writer import Writer

KEPT = {"telemetry": 90, "events": 1095}

NOW_MS = time.time_ns() // 1_000_000

DAY_MS = 86_400_000


def arrival(message: Message | dict[str, Any], received_ms: int = NOW_MS, retained: bool = False) -> Arrival:
    values = json.loads(message.to_json()) if isinstance(message, Message) else message
    kind = values["schema"].split("/")[1]
    to = f"sicklescope/v1/{values['site']}/{values['device']}/{kind}"
    payload = message.to_json() if isinstance(message, Message) else json.dumps(values, separators=(",", ":"))
    return Arrival(to, payload.encode(), received_ms, retained)


def altered(message: Message, **changes: Any) -> dict[str, Any]:
    return {**json.loads(message.to_json()), **changes}


def one(database: Database, statement: str) -> Any:
    return database.rows(statement)[0][0]


class Clock:
    """Wall and monotonic time of a device; a test moves it."""

    def __init__(self, uptime_s: float = 1000.0) -> None:
        self.wall_s, self.uptime_s = NOW_MS / 1000, uptime_s

    def device(self, name: str = "scope-1", **more: Any) -> VirtualDevice:
        return VirtualDevice("mbarara", name, wall=lambda: self.wall_s, monotonic=lambda: self.uptime_s, **more)

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.uptime_s += seconds


@pytest.fixture
def device() -> VirtualDevice:
    return Clock().device()


@pytest.fixture
def writer(database: Database) -> Writer:
    return Writer(database, KEPT)


def test_the_same_messages_twice_are_rows_once(database: Database, writer: Writer, device: VirtualDevice) -> None:
    sent = [device.compose.status("online"), device.birth(), device.telemetry(), device.result(),
            device.compose.event("warning", "camera_lost", "no frame")]  # fmt: skip
    arrivals = [arrival(message) for message in sent]
    written = writer.write(arrivals)
    again = Writer(database, KEPT).write([*arrivals, *arrivals])  # a collector that was killed before it acknowledged
    assert written.new.total() == len(sent)
    assert (again.new.total(), again.repeated.total(), again.refused.total()) == (0, 2 * len(sent), 0)
    assert [one(database, f"SELECT count(*) FROM {table}") for table in ("results", "telemetry", "events")] == [1, 1, 3]


def test_a_result_is_kept_byte_for_byte_but_for_historical(
    database: Database, writer: Writer, device: VirtualDevice
) -> None:
    result = device.result()
    sent = arrival(result)
    writer.write([sent])
    late = Arrival(sent.topic, sent.payload.replace(b'"historical":false', b'"historical":true'), NOW_MS)
    assert writer.write([late]).repeated["result"] == 1
    assert one(database, "SELECT payload FROM results") == result.to_json()


def test_the_highest_revision_counts_in_whatever_order_they_come(
    database: Database, writer: Writer, device: VirtualDevice
) -> None:
    first = device.result(sickle=10)
    second, third = (
        device.result(sample_id=first.sample_id, revision=number, sickle=10 + number, stage="final")
        for number in (2, 3)
    )
    for message in (third, first, second):
        writer.write([arrival(message)])
    assert database.rows("SELECT revision, sickle FROM samples") == [(3, 13)]
    assert one(database, "SELECT sickle FROM sickle_fraction_by_site") == 13
    assert one(database, "SELECT samples FROM samples_a_day") == 1


def test_a_discarded_sample_leaves_the_sums(database: Database, writer: Writer, device: VirtualDevice) -> None:
    kept, gone = device.result(sickle=10), device.result(sickle=90)
    writer.write([arrival(kept), arrival(gone)])
    writer.write([arrival(device.result(sample_id=gone.sample_id, revision=2, sickle=90, stage="discarded"))])
    assert one(database, "SELECT sickle FROM sickle_fraction_by_site") == 10


@pytest.mark.parametrize("before", [True, False], ids=["before its result", "after its result"])
def test_nothing_of_an_erased_sample_stays_or_comes_back(
    database: Database, writer: Writer, device: VirtualDevice, before: bool
) -> None:
    result = device.result(code="K-77")
    if not before:
        writer.write([arrival(result)])
    erase(database, str(result.sample_id), NOW_MS, "asked for")
    written = writer.write([arrival(result)])
    assert written.refused == {Reason.ERASED.value: 1}
    for table in ("results", "set_aside", "samples"):
        assert one(database, f"SELECT count(*) FROM {table}") == 0
    assert one(database, "SELECT count(*) FROM tombstones") == 1


def test_what_waited_at_the_device_lands_at_its_own_time(
    database: Database, writer: Writer, device: VirtualDevice
) -> None:
    two_days_ago = NOW_MS - 2 * DAY_MS
    late = altered(device.telemetry(), ts_ms=two_days_ago, historical=True)
    writer.write([arrival(late)])
    assert database.rows("SELECT at_ms, received_ms FROM telemetry") == [(two_days_ago, NOW_MS)]
    assert one(database, "SELECT telemetry_ms FROM devices") is None, "it does not tell of now"


@pytest.mark.parametrize("clock_ms", [0, 4_000_000_000_000], ids=["1970", "2090"])
def test_a_wrong_clock_is_not_believed(
    database: Database, writer: Writer, device: VirtualDevice, clock_ms: int
) -> None:
    """The device says that its clock is set; the time is then that of its arrival, less what it waited."""
    result = altered(device.result(), ts_ms=clock_ms, ended_ms=clock_ms, started_ms=clock_ms)
    writer.write([arrival(result)])
    at_ms, read_ms, clock = database.rows("SELECT at_ms, read_ms, clock FROM results")[0]
    assert (at_ms, read_ms, bool(clock)) == (NOW_MS, NOW_MS, False)


def test_a_device_without_a_clock_is_placed_by_its_boot(database: Database, writer: Writer) -> None:
    """What waited for an hour came first, and the present message tells when the device booted."""
    clock = Clock()
    device = clock.device(synchronised=False)
    old = altered(device.telemetry(), historical=True)
    clock.pass_s(3600)
    writer.write([arrival(old, NOW_MS)])
    assert one(database, "SELECT at_ms FROM telemetry") == NOW_MS
    writer.write([arrival(device.compose.status("online"), NOW_MS)])
    assert one(database, "SELECT at_ms FROM telemetry") == NOW_MS - 3_600_000
    assert writer.write([arrival(old, NOW_MS + 60_000)]).repeated["telemetry"] == 1, "it is the same row all the same"


def test_control_slides_are_apart_from_patients(database: Database, writer: Writer, device: VirtualDevice) -> None:
    writer.write([
        arrival(device.result(code="control-known", flags=("control",), sickle=50)),
        arrival(device.result(sickle=10)),
        arrival(altered(device.compose.event("error", "control", "outside 3 sd"), ts_ms=NOW_MS + 1)),
    ])  # fmt: skip
    assert database.rows("SELECT samples, sickle FROM sickle_fraction_by_site") == [(1, 10)]
    assert database.rows("SELECT control_slide, sickle, failed FROM control_state") == [
        ("control-known", 50, "outside 3 sd")
    ]


def test_a_gap_in_the_numbers_is_something_missing(database: Database, writer: Writer) -> None:
    clock = Clock()
    device = clock.device()
    sent = []
    for _ in range(10):
        clock.pass_s(10)
        sent.append(arrival(device.telemetry()))
    writer.write([message for number, message in enumerate(sent) if number not in (3, 4, 7)])
    assert one(database, "SELECT messages_missing FROM missing") == 3
    writer.write([sent[4]])
    assert one(database, "SELECT messages_missing FROM missing") == 2


def test_a_restart_is_no_gap_and_what_the_device_dropped_is_none(database: Database, writer: Writer) -> None:
    clock = Clock()
    device = clock.device()
    writer.write([arrival(device.compose.status("online")), arrival(device.telemetry())])
    clock.pass_s(60)
    again = clock.device()  # the program starts again within the same boot
    sent = [again.compose.status("online"), again.telemetry()]
    for _ in range(3):
        again.telemetry()  # never sent, and told so
    writer.write([arrival(message) for message in (*sent, again.telemetry(dropped=3))])
    assert one(database, "SELECT count(*) FROM runs") == 2
    assert one(database, "SELECT messages_missing FROM missing") == 0


def test_results_that_the_device_holds_and_that_are_not_here_are_missing(
    database: Database, writer: Writer, device: VirtualDevice
) -> None:
    sent = [device.result() for _ in range(6)]
    writer.write([arrival(message) for number, message in enumerate(sent) if number not in (1, 2, 4)])
    first = sent[0].number or 0
    held = HeldResults(first + 5, ((first + 4, first + 5), (first, first + 2)))
    writer.write([arrival(device.compose.result_index(held))])
    count_missing(database, NOW_MS)
    assert one(database, "SELECT results_missing FROM missing") == 0, "they may still be on their way"
    count_missing(database, NOW_MS + 2 * SETTLED_MS)
    assert one(database, "SELECT results_missing FROM missing") == 3
    assert missing_of(database, 1, f"{first}-{first + 5}") == [
        (first + 1, first + 2), (first + 4, first + 4)
    ]  # fmt: skip
    writer.write([arrival(sent[number]) for number in (1, 2, 4)])  # sent again
    count_missing(database, NOW_MS + 3 * SETTLED_MS)
    assert one(database, "SELECT results_missing FROM missing") == 0


def test_messages_of_an_older_device_are_taken(database: Database, writer: Writer, device: VirtualDevice) -> None:
    reply, telemetry = altered(device.compose.reply("start", {}, "")), altered(device.telemetry())
    del reply["request"], reply["results"], telemetry["outbox_unheard"], telemetry["certificate_ends_ms"]
    del telemetry["models_serial"], telemetry["models_state"]
    assert writer.write([arrival(reply), arrival(telemetry)]).new == {"reply": 1, "telemetry": 1}
    assert one(database, "SELECT outbox_unheard FROM telemetry") is None, "it did not say"


def test_certificates_that_end_soon_show_first(database: Database, writer: Writer, device: VirtualDevice) -> None:
    telemetry = altered(device.telemetry(), certificate_ends_ms=NOW_MS + 10 * 86_400_000)
    writer.write([arrival(telemetry)])
    ((name, days),) = database.rows("SELECT device, days_left FROM certificates")
    assert name == device.config.device
    assert days == pytest.approx(10, abs=0.1)


def test_a_key_that_is_new_is_no_reason_to_refuse(database: Database, writer: Writer, device: VirtualDevice) -> None:
    written = writer.write([
        arrival(altered(device.telemetry(), humidity=40.5)), arrival(altered(device.result(), mood=17))
    ])  # fmt: skip
    assert written.refused == {}
    assert '"mood":17' in one(database, "SELECT payload FROM results")


BAD: dict[str, Callable[[VirtualDevice], tuple[Arrival, Reason]]] = {
    "other version": lambda device: (arrival(altered(device.result(), schema="sicklescope/result/9")),
                                     Reason.SCHEMA_UNKNOWN),
    "counts that do not add up": lambda device: (arrival(altered(device.result(), normal=5)), Reason.INVALID),
    "another's name": lambda device: (
        Arrival("sicklescope/v1/mbarara/scope-9/result", device.result().to_json().encode(), NOW_MS),
        Reason.NAME_MISMATCH),
    "no JSON": lambda _: (Arrival("sicklescope/v1/mbarara/scope-1/result", b"\xff\x00", NOW_MS), Reason.FOREIGN),
    "another program": lambda _: (Arrival("sicklescope/v1/mbarara/scope-1/result", b'{"t": 21}', NOW_MS),
                                  Reason.FOREIGN),
    "too large": lambda device: (arrival(altered(device.result(), more="x" * 70_000)), Reason.TOO_LARGE),
    "a number without an end": lambda device: (arrival(altered(device.result(), seq=10**30)), Reason.INVALID),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_result_that_cannot_be_read_is_named_and_kept_aside_and_the_rest_goes_on(
    database: Database, writer: Writer, device: VirtualDevice, case: str
) -> None:
    bad, reason = BAD[case](device)
    written = writer.write([arrival(device.result()), bad, arrival(device.telemetry())])
    assert written.refused == {reason.value: 1}
    assert written.new == {"result": 1, "telemetry": 1}
    assert database.rows("SELECT kind, reason, messages FROM refusals_by_reason") == [("result", reason.value, 1)]
    kept = database.rows("SELECT reason, payload FROM set_aside")
    assert [(name, bytes(payload)) for name, payload in kept] == [(reason.value, bad.payload)]


def test_a_text_that_the_database_cannot_hold_stops_nothing_else(postgresql: PostgreSQL, device: VirtualDevice) -> None:
    """PostgreSQL has no NUL character in a text; SQLite has."""
    bad = arrival(altered(device.result(), reason="a\0b"))
    sent = [arrival(device.telemetry()) for _ in range(20)]
    written = Writer(postgresql, KEPT).write([*sent[:7], bad, *sent[7:]])
    assert written.refused == {Reason.DATABASE_REFUSED.value: 1}
    assert written.new["telemetry"] == 20
    assert one(postgresql, "SELECT payload FROM set_aside") == bad.payload


def test_an_altered_result_and_a_second_one_of_a_revision_do_not_replace_the_first(
    database: Database, writer: Writer, device: VirtualDevice
) -> None:
    first = device.result(sickle=10)
    writer.write([arrival(first)])
    forged = altered(first, sickle=11, normal=first.normal - 1)
    rival = altered(first, id=str(uuid4()))
    assert writer.write([arrival(forged), arrival(rival)]).refused == {"id_altered": 1, "revision_taken": 1}
    assert one(database, "SELECT payload FROM results") == first.to_json()
    assert one(database, "SELECT count(*) FROM set_aside") == 2


def test_two_devices_with_one_name_are_told(database: Database, writer: Writer) -> None:
    first, second = Clock().device(), Clock().device()
    minute = 60_000
    states = [
        (altered(device.compose.status("online"), boot_id=f"boot-{boot}"), NOW_MS + step * minute)
        for step, (boot, device) in enumerate(((1, first), (2, second), (1, first)))
    ]
    writer.write([arrival(*states[0])])
    writer.write([arrival(*states[1])])
    assert one(database, "SELECT name_shared_at FROM devices_now") is None, "a device was started again"
    writer.write([arrival(states[2][0], states[2][1] + minute)])
    assert one(database, "SELECT name_shared_at FROM devices_now") is not None


def test_what_is_older_than_what_is_kept_makes_no_partition(postgresql: PostgreSQL, device: VirtualDevice) -> None:
    writer = Writer(postgresql, KEPT)
    old = NOW_MS - 100 * DAY_MS
    written = writer.write([
        arrival(altered(device.telemetry(), ts_ms=old, historical=True)), arrival(altered(device.result(), ts_ms=old))
    ])  # fmt: skip
    assert written.refused == {"too_old": 1}
    assert written.new == {"result": 1}, "a result is kept however old"


def test_retention_drops_whole_days(postgresql: PostgreSQL, device: VirtualDevice) -> None:
    writer = Writer(postgresql, KEPT)
    for days in (0, 1, 5, 6):
        writer.write([arrival(altered(device.telemetry(), ts_ms=NOW_MS - days * DAY_MS))])
    gone = postgresql.forget("telemetry", NOW_MS - 3 * DAY_MS)
    assert gone == 2
    assert one(postgresql, "SELECT count(*) FROM telemetry") == 2
    writer.write([arrival(altered(device.telemetry(), ts_ms=NOW_MS - 5 * DAY_MS))])
    assert one(postgresql, "SELECT count(*) FROM telemetry") == 3, "a day may come again"


def test_a_full_disk_is_named_and_writing_goes_on_when_there_is_room(small_disk: Path, device: VirtualDevice) -> None:
    room = small_disk / "room"
    room.write_bytes(bytes(200 << 10))
    database = SQLite(small_disk / "fleet.sqlite3")
    database.create(VERSION)
    writer, written, fault = Writer(database, KEPT), 0, ""
    while not fault:
        try:
            written += writer.write([arrival(device.result())]).new["result"]
        except DatabaseError as error:
            fault = str(error)
    assert "full" in fault
    room.unlink()
    last = device.result()
    assert writer.write([arrival(last)]).new == {"result": 1}
    assert one(database, "SELECT count(*) FROM results") == written + 1
    database.close()


def test_tables_of_a_newer_collector_are_left_alone(database: Database) -> None:
    database.execute("UPDATE fleet_schema SET version = ?", (VERSION + 1,))
    with pytest.raises(ConfigError, match=f"version {VERSION + 1}.*knows {VERSION}.*Upgrade"):
        database.create(VERSION)


def test_a_column_that_an_older_collector_did_not_know_is_added(database: Database, device: VirtualDevice) -> None:
    database.execute("DROP VIEW fields_rejected_a_day")
    for view in (
        "sickle_fraction_by_site",
        "samples_a_day",
        "above_blank_by_site",
        "review_lag",
        "control_state",
        "samples",
    ):
        database.execute(f"DROP VIEW {view}")
    database.execute("ALTER TABLE results DROP COLUMN rejected_stacked")
    database.execute("UPDATE fleet_schema SET digest = ''")
    database.create(VERSION)
    Writer(database, KEPT).write([arrival(device.result())])
    assert one(database, "SELECT stacked FROM fields_rejected_a_day") == 0


def test_a_result_of_a_newer_device_is_taken_after_the_upgrade(
    database: Database, writer: Writer, device: VirtualDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = device.result()
    with monkeypatch.context() as older:
        older.setattr(type(result).model_fields["schema_"], "default", "sicklescope/result/1")
        assert writer.write([arrival(result)]).refused == {"schema_unknown": 1}
    assert reconsider(database, KEPT).new == {"result": 1}
    assert one(database, "SELECT count(*) FROM set_aside") == 0
    assert one(database, "SELECT payload FROM results") == result.to_json()


def test_the_interval_between_samples_is_the_ratio_estimators(database: Database, writer: Writer) -> None:
    """Against the formula written out: each sample is one cluster."""
    device = Clock().device()
    counts = [(1000, 10 * number) for number in range(6)] + [(500, 30), (2000, 0), (800, 8), (1200, 60)]
    writer.write([arrival(device.result(red_cells=red, sickle=sickle)) for red, sickle in counts])
    total, ratio = sum(red for red, _ in counts), sum(sickle for _, sickle in counts) / sum(red for red, _ in counts)
    squares = sum((sickle - ratio * red) ** 2 for red, sickle in counts)
    error = (squares * len(counts) / (len(counts) - 1)) ** 0.5 / total
    fraction, low, high = database.rows("SELECT fraction, fraction_low, fraction_high FROM sickle_fraction_by_site")[0]
    assert fraction == pytest.approx(ratio)
    assert (low, high) == (pytest.approx(ratio - 1.96 * error), pytest.approx(ratio + 1.96 * error))


def test_topics_of_messages_are_what_the_collector_expects(device: VirtualDevice) -> None:
    result = device.result()
    assert arrival(result).topic == topic(result, "mbarara", "scope-1")
