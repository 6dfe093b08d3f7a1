"""A laboratory result as FHIR R4B: a bundle of one report, its observations, the specimen and the device.

Needs the extra `laboratory`. fhir.resources checks structure and times; required codes, such as a status, it does not,
so they are typed in `laboratory`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from edge.report.laboratory import (
    ANSWERS,
    CLOCK_NOT_SET,
    LOCAL,
    LOINC_PRESENCE,
    REPORT_CODE,
    REPORT_NAME,
    LaboratoryResult,
    Observed,
    Status,
)
from edge.screening.verdict import RESEARCH_USE

TAKEN_BACK = "taken back"
"""Words of what an earlier revision may have said and this one does not."""

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"

_REPORT_STATUS: dict[Status, str] = {
    "preliminary": "partial",
    "final": "final",
    "corrected": "corrected",
    "entered-in-error": "entered-in-error",
}


def fhir_bundle(result: LaboratoryResult) -> str:
    """Return the bundle as JSON, after fhir.resources has checked it.

    Raises:
        ConfigError: fhir.resources is not installed.
    """
    bundle_class = _bundle_class()
    report, specimen, device = (_url(result, name) for name in ("report", "specimen", "device"))
    observed = [(_url(result, one.code), _observation(result, one, specimen, device)) for one in result.observations]
    resources = [
        (report, _report(result, specimen, [url for url, _ in observed])),
        *observed,
        (specimen, _specimen(result)),
        (device, _device(result)),
    ]
    bundle = bundle_class(
        **_marked("Bundle", result),
        type="collection",
        timestamp=_time(result.issued),
        entry=[{"fullUrl": url, "resource": resource} for url, resource in resources],
    )
    return str(bundle.model_dump_json(indent=2))


def _bundle_class() -> Any:
    from edge.errors import ConfigError

    try:
        from fhir.resources.R4B.bundle import Bundle
    except ImportError as error:
        raise ConfigError(
            "FHIR needs fhir.resources, which is not installed: pip install 'sicklescope[laboratory]'"
        ) from error
    return Bundle


def _url(result: LaboratoryResult, name: str) -> str:
    """Return the same identifier for the same part of a sample in each revision."""
    return uuid5(NAMESPACE_URL, f"urn:uuid:{result.sample_id}/{name}").urn


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _marked(kind: str, result: LaboratoryResult) -> dict[str, Any]:
    """Return what every resource begins with: its kind, its revision and the research-use banner."""
    tag = {"system": LOCAL, "code": "research-use-only", "display": RESEARCH_USE}
    return {"resourceType": kind, "meta": {"versionId": str(result.revision), "tag": [tag]}}


def _told(words: str) -> dict[str, str]:
    """Return a narrative."""
    plain = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{RESEARCH_USE} {plain}</div>'}


def _coded(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _report(result: LaboratoryResult, specimen: str, observations: list[str]) -> dict[str, Any]:
    report = {
        **_marked("DiagnosticReport", result),
        "text": _told(result.conclusion),
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{result.sample_id}"}],
        "status": _REPORT_STATUS[result.status],
        "category": [_coded("http://terminology.hl7.org/CodeSystem/v2-0074", "HM", "Hematology")],
        "code": _coded(LOCAL, REPORT_CODE, REPORT_NAME),
        "effectivePeriod": {"start": _time(result.began), "end": _time(result.ended)},
        "issued": _time(result.issued),
        "specimen": [{"reference": specimen}],
        "result": [{"reference": url} for url in observations],
        "conclusion": result.conclusion,
    }
    if result.signed_by:
        report["resultsInterpreter"] = [{"display": result.signed_by}]
    return report


def _observation(result: LaboratoryResult, one: Observed, specimen: str, device: str) -> dict[str, Any]:
    system = LOINC if one.code == LOINC_PRESENCE else LOCAL
    notes = [{"text": RESEARCH_USE}]
    if not result.clock_set:
        notes.append({"text": CLOCK_NOT_SET})
    found = {
        **_marked("Observation", result),
        "text": _told(f"{one.name}: {_words(one)}"),
        "status": "entered-in-error" if one.value is None else result.status,
        "code": _coded(system, one.code, one.name),
        "effectivePeriod": {"start": _time(result.began), "end": _time(result.ended)},
        "issued": _time(result.issued),
        **_value(one),
        "note": notes,
        "specimen": {"reference": specimen},
        "device": {"reference": device},
    }
    if one.low is not None and one.high is not None:
        ends = (("interval-low", "Lower end of the 95 % interval", one.low), ("interval-high", "Upper end", one.high))
        found["component"] = [
            {"code": _coded(LOCAL, code, name), "valueQuantity": _quantity(value, one.unit)}
            for code, name, value in ends
        ]
    return found


def _value(one: Observed) -> dict[str, Any]:
    if one.value is None:
        return {}
    if isinstance(one.value, bool):
        return {"valueCodeableConcept": _coded(LOINC, *ANSWERS[one.value])}
    if isinstance(one.value, str):
        return {"valueString": one.value}
    return {"valueQuantity": _quantity(one.value, one.unit)}


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit.strip("{}"), "system": UCUM, "code": unit}


def _words(one: Observed) -> str:
    if one.value is None:
        return TAKEN_BACK
    if isinstance(one.value, bool):
        return ANSWERS[one.value][1]
    return f"{one.value} {one.unit.strip('{}')}".strip()


def _specimen(result: LaboratoryResult) -> dict[str, Any]:
    return {
        **_marked("Specimen", result),
        "text": _told(f"Blood smear {result.code}."),
        "identifier": [{"system": f"{LOCAL}:{result.site}", "value": result.code}],
        "type": _coded("http://terminology.hl7.org/CodeSystem/v2-0487", "BLD", "Whole blood"),
    }


def _device(result: LaboratoryResult) -> dict[str, Any]:
    return {
        **_marked("Device", result),
        "text": _told(f"{result.device} at {result.site}, {_results(result.revision)} of this sample."),
        "identifier": [{"system": LOCAL, "value": f"{result.site}/{result.device}"}],
        "deviceName": [{"name": "sicklescope", "type": "model-name"}],
        "version": [{"value": result.software}],
    }


def _results(count: int) -> str:
    return "1 result" if count == 1 else f"{count} results"
