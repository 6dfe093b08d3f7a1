"""What laboratories get: the right status, no presence that nobody signed, and the same values in FHIR and in HL7."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message
from typer.testing import CliRunner

from edge.cli.main import app
from edge.config.model import Config, DeviceConfig
from edge.errors import SampleError
from edge.report.fhir import fhir_bundle
from edge.report.hl7 import hl7_message
from edge.report.laboratory import CLOCK_NOT_SET, LaboratoryResult, Observed, laboratory_result
from edge.sample.lifecycle import Lifecycle
from edge.sample.sample_row import StoredSample
from edge.screening.verdict import RESEARCH_USE, VerdictRules, assess
from edge.storage.database import Database, database_path
from tests.edge.publish.publish_parts import composer
from tests.edge.sample.review_parts import cells_of, counted, do, ended


@pytest.fixture
def lifecycle(tmp_path: Path) -> Iterator[Lifecycle]:
    with Database(tmp_path / "sicklescope.sqlite3") as database:
        yield Lifecycle(Config(), database, composer())


def of(lifecycle: Lifecycle, sample: StoredSample) -> LaboratoryResult:
    return laboratory_result(lifecycle, lifecycle.store.find(sample.id), "0.7.0")


def looked_at(lifecycle: Lifecycle, sample: StoredSample, name: str) -> None:
    """Have a person call every sickle-like and unnamed cell so, and sign."""
    do(lifecycle, sample, cells={str(number): name for number in range(620, 645)}, done=True)


def resources(text: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads(text)["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


def statuses(result: LaboratoryResult) -> tuple[str, set[str], set[str], str]:
    """Return report and observation status of FHIR, OBX-11 and OBR-25 of HL7."""
    fhir = resources(fhir_bundle(result))
    lines = [line.split("|") for line in hl7_message(result).split("\r") if line]
    order = next(line for line in lines if line[0] == "OBR")
    return (
        fhir["DiagnosticReport"][0]["status"],
        {one["status"] for one in fhir["Observation"]},
        {line[11] for line in lines if line[0] == "OBX"},
        order[25],
    )


def codes(result: LaboratoryResult) -> dict[str, Any]:
    return {one.code: one.value for one in result.observations if one.value is not None}


def taken_back(result: LaboratoryResult) -> set[str]:
    return {one.code for one in result.observations if one.value is None}


def test_the_status_follows_the_life_of_a_sample(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    assert statuses(of(lifecycle, sample)) == ("partial", {"preliminary"}, {"R"}, "R")
    assert "801-1" not in codes(of(lifecycle, sample))
    looked_at(lifecycle, sample, "sickle")
    assert statuses(of(lifecycle, sample)) == ("final", {"final"}, {"F"}, "F")
    assert codes(of(lifecycle, sample))["801-1"] is True
    lifecycle.reopen(lifecycle.store.find(sample.id), "Dr A", "a cell was overlooked")
    again = of(lifecycle, sample)
    assert statuses(again) == ("partial", {"preliminary", "entered-in-error"}, {"R", "D"}, "R")
    assert taken_back(again) == {"801-1"}, "it was sent, and nobody stands for it now"
    do(lifecycle, sample, done=True)
    assert statuses(of(lifecycle, sample)) == ("corrected", {"corrected"}, {"C"}, "C")
    lifecycle.discard(lifecycle.store.find(sample.id), "nurse", "wrong slide")
    wrong = of(lifecycle, sample)
    assert statuses(wrong) == ("entered-in-error", {"entered-in-error"}, {"W", "D"}, "X")
    assert taken_back(wrong) == {"801-1", "sickle-like-percent"}
    assert "Discarded, not to be used: wrong slide" in wrong.conclusion
    assert "sickle-like-percent" not in codes(wrong)


def test_a_signature_without_a_review_is_not_final(lifecycle: Lifecycle) -> None:
    """Kind: numbers that nobody looked at, given to a laboratory as verified."""
    sample = ended(lifecycle)
    do(lifecycle, sample, done=True)
    assert statuses(of(lifecycle, sample)) == ("partial", {"preliminary"}, {"R"}, "R")
    assert of(lifecycle, sample).signed_by == "Dr A"


def test_withheld_counts_leave_for_no_laboratory(lifecycle: Lifecycle) -> None:
    found = counted("K-7", 620, 20, 5)
    sample = lifecycle.start(found, "{}", "nurse")
    strange = assess(found.counts, VerdictRules(500, 1000, 0.003), {"unfamiliar"})
    lifecycle.end(sample, replace(found, verdict=strange), [cells_of(620, 20, 5)], "review", "")
    assert codes(of(lifecycle, sample)) == {
        "fields-read": 1, "fields-not-read": 0, "area": 0.1, "limit-of-blank": 0.3, "verdict": "withheld",
    }  # fmt: skip
    assert not re.search(r"\d", of(lifecycle, sample).conclusion.replace("809.10", "")), "words without a count"
    do(lifecycle, sample, cells={"620": "sickle"}, done=True)
    signed = of(lifecycle, sample)
    assert "801-1" not in codes(signed)
    assert {"red-cells", "cells-sickle", "sickle-like-percent"} <= taken_back(signed), (
        "an earlier one may have said them"
    )


def test_too_few_cells_have_no_fraction_in_words_either(lifecycle: Lifecycle) -> None:
    few = of(lifecycle, ended(lifecycle, normal=300, sickle=9, abstained=0))
    assert few.conclusion.startswith(f"{RESEARCH_USE} Insufficient: 309 red cells counted, at least 500 needed.")
    assert "%" not in few.conclusion
    assert "Sickle-like cells 9 of 309" in few.conclusion


def test_nothing_counted_is_nought_and_not_left_out(lifecycle: Lifecycle) -> None:
    none = of(lifecycle, ended(lifecycle, normal=0, sickle=0, abstained=0))
    found = {one["code"]["coding"][0]["code"]: fhir_value(one) for one in resources(fhir_bundle(none))["Observation"]}
    assert [found[f"cells-{name}"] for name in ("normal", "sickle", "abstained")] == [0, 0, 0]
    assert found["red-cells"] == 0
    assert "OBX|1|NM|red-cells^Red cells counted^99SCOPE||0|{cells}^" in hl7_message(none)


def test_a_number_of_hl7_has_no_exponent(lifecycle: Lifecycle) -> None:
    """Kind: what Python writes for a number and HL7 does not take for one (NM: digits, a sign, a point)."""
    result = of(lifecycle, ended(lifecycle))
    small = replace(result, observations=(Observed("area", "Area of slide read", 0.00002, "mm2"),))
    assert "||0.00002|mm2^" in hl7_message(small)


@pytest.mark.parametrize("synchronised", [True, False])
def test_a_device_without_a_clock_says_so(lifecycle: Lifecycle, synchronised: bool) -> None:
    right = lifecycle.clock
    lifecycle.clock = lambda: replace(right(), clock_synchronised=synchronised)
    result = of(lifecycle, ended(lifecycle))
    observations = resources(fhir_bundle(result))["Observation"]
    assert {CLOCK_NOT_SET in json.dumps(one["note"]) for one in observations} == {not synchronised}
    assert (CLOCK_NOT_SET in hl7_message(result)) is not synchronised


def test_presence_is_said_only_by_a_person_who_looked(lifecycle: Lifecycle) -> None:
    taken_as_it_is = ended(lifecycle, "K-1")
    do(lifecycle, taken_as_it_is, done=True)
    assert "801-1" not in codes(of(lifecycle, taken_as_it_is)), "signed, and not reviewed"
    part = ended(lifecycle, "K-2")
    do(lifecycle, part, cells={"620": "normal"}, done=True)
    assert "801-1" not in codes(of(lifecycle, part)), "nobody looked at the other nineteen"
    none = ended(lifecycle, "K-3")
    looked_at(lifecycle, none, "artefact")
    assert codes(of(lifecycle, none))["801-1"] is False
    few = ended(lifecycle, "K-4", normal=300, sickle=9, abstained=0)
    do(lifecycle, few, cells={str(number): "sickle" for number in range(300, 309)}, done=True)
    found = codes(of(lifecycle, few))
    assert "801-1" not in found, "too few red cells"
    assert "sickle-like-percent" not in found
    assert found["verdict"] == "insufficient"
    assert taken_back(of(lifecycle, few)) == {"sickle-like-percent"}
    other = ended(lifecycle, "K-6")
    missed = [{"field": 0, "x": 0.5, "y": 0.5, "class_name": "normal"}]
    do(lifecycle, other, missed=missed, done=True)
    assert "801-1" not in codes(of(lifecycle, other)), "a missed normal cell is no person's word on sickle-like ones"
    with pytest.raises(SampleError, match="is being scanned"):
        of(lifecycle, lifecycle.start(counted("K-5", 600, 5, 0), "{}", "nurse"))


def fhir_value(resource: dict[str, Any]) -> Any:
    if "valueQuantity" in resource:
        return resource["valueQuantity"]["value"]
    if "valueCodeableConcept" in resource:
        return resource["valueCodeableConcept"]["coding"][0]["display"] == "Present"
    return resource["valueString"]


def hl7_value(kind: str, text: str) -> Any:
    if kind == "NM":
        return float(text)
    return text.split("^")[1] == "Present" if kind == "CWE" else text


def test_both_forms_come_back_as_what_was_sent(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    looked_at(lifecycle, sample, "sickle")
    result = of(lifecycle, sample)
    text = fhir_bundle(result)
    assert Bundle.model_validate_json(text).model_dump_json(indent=2) == text
    found = resources(text)
    assert {one["code"]["coding"][0]["code"]: fhir_value(one) for one in found["Observation"]} == codes(result)
    presence, percent, *_ = found["Observation"]
    assert presence["code"]["coding"][0]["system"] == "http://loinc.org"
    assert percent["valueQuantity"] == {
        "value": 3.876, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%",
    }  # fmt: skip
    assert [one["valueQuantity"]["value"] for one in percent["component"]] == [result.observations[1].low,
                                                                             result.observations[1].high]  # fmt: skip
    parsed = parse_message(hl7_message(result))
    order = parsed.ORU_R01_PATIENT_RESULT.ORU_R01_ORDER_OBSERVATION
    values = {}
    for group in order.ORU_R01_OBSERVATION:
        obx = group.obx
        values[obx.obx_3.obx_3_1.value] = hl7_value(obx.obx_2.value, obx.obx_5.to_er7())
    assert [note.nte_3.to_er7() for note in order.nte] == [RESEARCH_USE, result.conclusion, CLOCK_NOT_SET][
        : 2 + (not result.clock_set)
    ]
    assert values == codes(result)
    assert order.obr.obr_3.to_er7() == f"{sample.id}^sicklescope"


def test_every_resource_says_research_use_and_every_time_its_zone(lifecycle: Lifecycle) -> None:
    result = of(lifecycle, ended(lifecycle))
    text = fhir_bundle(result)
    bundle = json.loads(text)
    for one in (bundle, *(entry["resource"] for entry in bundle["entry"])):
        assert RESEARCH_USE in json.dumps(one["meta"])
    times = re.findall(r'"(?:issued|start|end|timestamp)": "([^"]+)"', text)
    assert len(times) > 40
    assert all(datetime.fromisoformat(time.replace("Z", "+00:00")).tzinfo is not None for time in times)
    message = hl7_message(result)
    assert f"NTE|1|L|{RESEARCH_USE}" in message
    assert re.search(r"\|20\d{12}\+0000\|", message)
    assert "PID" not in message


def test_a_control_slide_is_no_result_for_a_laboratory(lifecycle: Lifecycle) -> None:
    found = counted("control-A-1", 620, 20, 5)
    sample = lifecycle.start(found, "{}", "nurse")
    flagged = replace(found, verdict=replace(found.verdict, flags=("control",)))
    lifecycle.end(sample, flagged, [], "review", "")
    with pytest.raises(SampleError, match="control slide"):
        of(lifecycle, sample)


def test_a_message_has_another_number_where_it_says_something_else(lifecycle: Lifecycle) -> None:
    """Kind: a receiver drops what it had. Answers change the counts within a revision."""
    sample = ended(lifecycle)
    numbers = [hl7_message(of(lifecycle, sample)).split("|")[9] for _ in range(2)]
    do(lifecycle, sample, cells={"620": "normal"})
    assert len({*numbers, hl7_message(of(lifecycle, sample)).split("|")[9]}) == 2


def test_a_revision_keeps_its_identifiers(lifecycle: Lifecycle) -> None:
    sample = ended(lifecycle)
    before = json.loads(fhir_bundle(of(lifecycle, sample)))
    do(lifecycle, sample, done=True)
    after = json.loads(fhir_bundle(of(lifecycle, sample)))
    assert [one["fullUrl"] for one in before["entry"]] == [one["fullUrl"] for one in after["entry"]]
    assert (before["meta"]["versionId"], after["meta"]["versionId"]) == ("1", "2")


@pytest.mark.parametrize("value", ["12", "many", float("nan"), float("inf"), True])
def test_what_is_no_number_leaves_nowhere(value: Any) -> None:
    """Kind: a library that takes any text for a number. hl7apy does, even when it validates strictly."""
    with pytest.raises(ValueError, match="expected a finite number"):
        Observed("red-cells", "Red cells", value, "{cells}")


def test_signs_of_the_message_in_words_do_not_break_it(lifecycle: Lifecycle) -> None:
    result = replace(of(lifecycle, ended(lifecycle)), signed_by="A|B^C&D~E\\F", conclusion="x|y\rOBX|9", site="a^b")
    parsed = parse_message(hl7_message(result))
    order = parsed.ORU_R01_PATIENT_RESULT.ORU_R01_ORDER_OBSERVATION
    assert len(order.ORU_R01_OBSERVATION) == len(result.observations)
    assert order.nte[1].nte_3.to_er7() == "x\\F\\y OBX\\F\\9"


@pytest.mark.parametrize("form", ["fhir", "hl7"])
def test_a_result_is_exported_from_the_command_line_and_erased_with_its_sample(tmp_path: Path, form: str) -> None:
    config = Config(device=DeviceConfig(state_dir=tmp_path / "state"))
    with Database(database_path(config)) as database:
        ended(Lifecycle(config, database, composer()), "K-9")
    file = tmp_path / f"result.{form}"

    def sample(*words: str) -> None:
        environ = {"SICKLESCOPE_DEVICE__STATE_DIR": str(tmp_path / "state"), "SICKLESCOPE_MQTT__ENABLED": "false"}
        done = CliRunner().invoke(app, ["sample", *words], env=environ)
        assert done.exit_code == 0, done.output

    sample("export", "K-9", str(file), "--format", form)
    text = file.read_bytes().decode()
    assert RESEARCH_USE in text
    assert text.startswith("{" if form == "fhir" else "MSH|^~\\&|sicklescope|")
    sample("erase", "K-9", "--yes")
    assert not file.exists()
