"""The wire contract: schemas, flatness, sums, and that what docs/mqtt.md shows is what is sent."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jsonschema
import pytest
from pydantic import ValidationError

from edge.config.model import DeviceConfig
from edge.publish.composer import Composer, Health
from edge.publish.message_base import Message, topic
from edge.publish.messages import MESSAGES
from edge.publish.result_messages import Result
from edge.publish.sample_fields import record_of
from edge.screening.sample_record import Period
from edge.storage.result_numbers import HeldResults
from edge.system.clock import boot_id, clock_synchronised
from edge.system.health import MachineHealth
from edge.types import CLASSES, Counts, Exclusion, Reason, Scale
from tests.edge.publish.publish_parts import COUNTS, DEVICE, HEALTH, SCALE, VERDICT, birth, composer, record, result
from tests.schemas import DOCS, check_written, schema

NOTHING = Counts(
    by_class=dict.fromkeys(CLASSES, 0), excluded={}, rejected={}, cells_seen=0, fields_read=0, area_mm2=0.0
)
UNKNOWN = replace(
    VERDICT, status="insufficient", red_cells=0, sickle=0, fraction=None, low=None, high=None, fraction_if_none=None,
    fraction_if_all=None, limit_of_blank=None, above_blank=None, flags=(),
)  # fmt: skip


def every_message() -> dict[str, Message]:
    compose = composer()
    return {
        "status": compose.status("online"),
        "birth": birth(compose),
        "progress": compose.progress("K-1042", COUNTS, VERDICT),
        "result": result(compose),
        "results": compose.result_index(HeldResults(382_113_000_017, ((382_113_000_001, 382_113_000_017),))),
        "telemetry": compose.telemetry("K-1042", COUNTS, HEALTH, pending=1, refused=0, unheard=0, dropped=4),
        "event": compose.event("error", "camera", "camera /dev/video0 gave no frame for 5 s", "K-1042"),
        "reply": compose.reply(
            "start", {"id": "c5a0f5a4-1c5b-4f0e-8a43-2f6c3f7b9d10", "sample": "K-1042", "state": "scanning"}, "", "r-7"
        ),
    }


def nearly_nothing() -> dict[str, Message]:
    """Make the same messages where all that can be null is."""
    compose = composer()
    machine = MachineHealth(None, None, None, None, None, 21480.0)
    health = Health(fps=0.0, frames=0, frames_dropped=0, rss_mb=50.0, stage_ms={}, machine=machine)
    nothing = replace(record(""), counts=NOTHING, verdict=UNKNOWN, scale=None, period=Period(0, 0, 0.0))
    return {
        "progress": compose.progress("", NOTHING, UNKNOWN),
        "result": compose.draft(nothing),
        "telemetry": compose.telemetry("", NOTHING, health, pending=0, refused=0, unheard=0, dropped=0),
    }


@pytest.mark.parametrize("message", [*every_message().values(), *nearly_nothing().values()], ids=lambda m: m.kind)
def test_message_meets_its_schema_and_is_flat(message: Message) -> None:
    payload = json.loads(message.to_json())
    check_written(payload, f"mqtt-{message.kind}")
    assert all(value is None or isinstance(value, str | int | float | bool) for value in payload.values())
    assert payload["schema"] == f"sicklescope/{message.kind}/{2 if message.kind == 'result' else 1}"
    assert type(message).model_validate_json(message.to_json()) == message


def test_every_kind_is_tried_and_every_key_is_always_there() -> None:
    tried = every_message()
    assert tuple(type(message) for message in tried.values()) == MESSAGES
    for kind, message in nearly_nothing().items():
        stages = {key for key in json.loads(tried[kind].to_json()) if key.startswith("stage_")}
        assert set(json.loads(message.to_json())) == set(json.loads(tried[kind].to_json())) - stages


def test_keys_are_all_classes_exclusions_and_reasons() -> None:
    progress, telemetry = schema("mqtt-progress")["properties"], schema("mqtt-telemetry")["properties"]
    assert set(CLASSES) | {reason.value for reason in Exclusion} <= set(progress)
    rejected = {key for key in telemetry if key.startswith("rejected_")}
    assert rejected == {f"rejected_{reason.value}" for reason in Reason}


def test_result_carries_what_was_counted() -> None:
    payload = json.loads(every_message()["result"].to_json())
    assert {name: payload[name] for name in CLASSES} == COUNTS.by_class
    assert (payload["cells_seen"], payload["red_cells"], payload["border"], payload["abstained"]) == (
        1370,
        1197,
        90,
        20,
    )
    assert (payload["fields_read"], payload["fields_rejected"], payload["rejected_out_of_focus"]) == (24, 4, 3)
    assert (payload["fraction"], payload["fraction_low"]) == (VERDICT.fraction, VERDICT.low)
    assert payload["text"] == VERDICT.text
    assert (payload["um_per_px"], payload["scale_source"]) == (SCALE.um_per_px, "locked")
    assert (payload["classifier_sha256"], payload["threshold_sickle"]) == ("b" * 64, 0.8)
    assert (payload["site"], payload["device"], payload["sample"]) == ("mbarara", "scope-1", "K-1042")


def test_a_sample_that_an_earlier_version_began_can_go_on() -> None:
    begun = json.loads(every_message()["result"].to_json())
    for since in ("rejected_stacked", "rejected_magnification"):  # keys that version 0.3 did not have
        del begun[since]
    assert Result.model_validate(begun).rejected_stacked == Result.model_validate(begun).rejected_magnification == 0


@pytest.mark.parametrize("scale", [SCALE, None])
def test_a_stored_draft_gives_the_record_that_it_was_made_from(scale: Scale | None) -> None:
    made = replace(record(), interruptions=2, scale=scale)
    assert record_of(Result.model_validate_json(composer().draft(made).to_json())) == made


def test_a_draft_leaves_no_gap_in_the_numbers_of_messages() -> None:
    """A receiver takes a gap for a message that was lost; a draft is stored every few seconds and never sent."""
    compose = composer()
    before = compose.progress("K-1042", COUNTS, VERDICT)
    assert compose.draft(record()).seq == 0
    assert compose.progress("K-1042", COUNTS, VERDICT).seq == before.seq + 1


def test_counts_that_do_not_add_up_never_leave() -> None:
    with pytest.raises(ValidationError, match="cells_seen is 1371; the counts add up to 1370"):
        composer().progress("K-1042", replace(COUNTS, cells_seen=1371), VERDICT)
    strange = replace(COUNTS, rejected={**COUNTS.rejected, "new_reason": 1})
    with pytest.raises(ValidationError, match="fields_rejected is 5; the reasons add up to 4"):
        composer().draft(replace(record(), counts=strange))


def test_numbers_that_json_has_not_never_leave() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        composer().progress("", COUNTS, replace(VERDICT, fraction=float("nan")))


def test_telemetry_takes_stages_and_nothing_else() -> None:
    message = json.loads(every_message()["telemetry"].to_json())
    assert (message["stage_detect_ms"], message["stage_classify_ms"]) == (18.25, 9.5)
    with pytest.raises(ValidationError, match="unknown keys colour"):
        type(every_message()["telemetry"]).model_validate({**message, "colour": 1.0})
    with pytest.raises(jsonschema.ValidationError, match="colour"):
        check_written({**message, "colour": 1.0}, "mqtt-telemetry")


@pytest.mark.parametrize("message", every_message().values(), ids=lambda m: m.kind)
def test_receivers_schemas_take_what_later_versions_add(message: Message) -> None:
    """Kind: a schema that forbids what the contract allows; 0.6.0's refused every message with a new key."""
    payload = {**json.loads(message.to_json()), "a_later_key": "x"}
    jsonschema.validate(payload, schema(f"mqtt-{message.kind}"), cls=jsonschema.Draft202012Validator)
    for key in message.added:  # and the messages of versions that had no such key yet
        del payload[key]
    jsonschema.validate(payload, schema(f"mqtt-{message.kind}"), cls=jsonschema.Draft202012Validator)


LONGEST_NAME = "x" * 63


def test_an_index_keeps_within_the_brokers_packets() -> None:
    ranges = tuple((one, one) for one in range(10**12 + 5000, 10**12, -2))
    for limit in (4000, 1500, 300):
        index = composer().result_index(HeldResults(10**12 + 5000, ranges), limit)
        assert len(index.to_json()) < max(limit, 700)
        assert index.listed_from == int(index.held.split(",")[0] or 10**12 + 5001)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_index_has_at_most_8_kb_and_says_from_where_it_lists(step: int) -> None:
    """Whatever was erased: many gaps make many ranges."""
    numbers = range(10**12, 10**12 + 30_000 * step, step)
    ranges = ((numbers[0], numbers[-1]),) if step == 1 else tuple((one, one) for one in reversed(numbers))
    device = DeviceConfig(site=LONGEST_NAME, device=LONGEST_NAME)
    index = Composer(device).result_index(HeldResults(numbers[-1], ranges))
    assert len(index.to_json().encode()) <= 8192
    assert (index.highest, index.held_results) == (numbers[-1], 30_000)
    listed = index.held.split(",")
    assert listed[-1].endswith(str(numbers[-1]))
    assert index.listed_from == (0 if step == 1 else int(listed[0]))
    assert step == 1 or len(listed) > 400


@pytest.mark.parametrize("sample", ["x" * 65, "two\nlines", "nul\x00"])
def test_sample_code_is_short_and_printable(sample: str) -> None:
    with pytest.raises(ValidationError, match="sample"):
        composer().status("online", sample=sample)


def test_messages_of_a_run_are_numbered_and_stamped() -> None:
    compose = composer()
    first, second = compose.status("online"), compose.event("info", "started", "")
    assert (first.seq, second.seq) == (5_321_500, 5_321_501)
    assert (first.ts_ms, first.uptime_ms, first.clock_synchronised) == (1_790_000_000_250, 5_321_500, True)
    assert first.boot_id == second.boot_id == boot_id() != ""
    assert topic(first, compose.site, compose.device) == "sicklescope/v1/mbarara/scope-1/status"


def test_a_program_that_starts_again_on_the_same_boot_numbers_on() -> None:
    compose = Composer(DEVICE, monotonic=lambda: 60.0)
    last = [compose.status("online") for _ in range(1000)][-1]
    assert Composer(DEVICE, monotonic=lambda: 61.5).status("online").seq > last.seq


def test_clock_is_asked_without_being_set() -> None:
    assert clock_synchronised() in (True, False)


EXAMPLES = re.findall(r"```json\n(\{.*?\})\n```", (DOCS / "mqtt.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("message", every_message().values(), ids=lambda m: m.kind)
def test_documented_example_is_what_is_sent(message: Message) -> None:
    shown = next(
        example for example in map(json.loads, EXAMPLES) if example["schema"] == json.loads(message.to_json())["schema"]
    )
    jsonschema.validate(shown, schema(f"mqtt-{message.kind}"), cls=jsonschema.Draft202012Validator)
    # The numbers may be others; the keys and their order may not.
    assert list(shown) == list(json.loads(message.to_json()))


@pytest.mark.parametrize("model", MESSAGES, ids=lambda m: m.kind)
def test_documented_delivery_is_that_of_the_model(model: type[Message]) -> None:
    row = next(line for line in (DOCS / "mqtt.md").read_text("utf-8").splitlines() if f"| `…/{model.kind}` |" in line)
    assert [cell.strip() for cell in row.split("|")][2:4] == [str(model.qos), "yes" if model.retain else "no"]
