"""A laboratory result as an HL7 v2.5.1 message ORU^R01, to be handed over as a file.

Needs the extra `laboratory`. hl7apy checks segments and fields; numbers were checked in `laboratory`, for hl7apy takes
any text for one.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from edge.errors import ConfigError
from edge.report.laboratory import (
    ANSWERS,
    CLOCK_NOT_SET,
    LOINC_PRESENCE,
    REPORT_CODE,
    REPORT_NAME,
    LaboratoryResult,
    Observed,
    Status,
)
from edge.screening.verdict import RESEARCH_USE

CODES = "99SCOPE"
"""Coding system of the local codes (HL7 table 0396: 99 and letters)."""

_STATUS: dict[Status, tuple[str, str]] = {
    "preliminary": ("R", "R"),
    "final": ("F", "F"),
    "corrected": ("C", "C"),
    "entered-in-error": ("W", "X"),
}
"""OBX-11 and OBR-25: not verified, final, corrected, wrong."""

DELETED = "D"
"""OBX-11 of what an earlier revision may have said and this one does not."""

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": " ", "\n": " "}


def hl7_message(result: LaboratoryResult) -> str:
    """Return the message, segments ended by carriage returns, after hl7apy has checked it.

    Raises:
        ConfigError: hl7apy is not installed.
    """
    try:
        from hl7apy.consts import VALIDATION_LEVEL
        from hl7apy.core import Message
    except ImportError as error:
        raise ConfigError("HL7 needs hl7apy, which is not installed: pip install 'sicklescope[laboratory]'") from error
    message = Message("ORU_R01", version="2.5.1", validation_level=VALIDATION_LEVEL.STRICT)
    _header(message.msh, result)
    order = message.add_group("ORU_R01_PATIENT_RESULT").add_group("ORU_R01_ORDER_OBSERVATION")
    _order(order.add_segment("OBR"), result)
    # As notes: hl7apy holds a text of an observation for one of 199 signs at most, whatever its type.
    clock = () if result.clock_set else (CLOCK_NOT_SET,)
    for number, words in enumerate((RESEARCH_USE, result.conclusion, *clock), start=1):
        _note(order.add_segment("NTE"), number, words)
    for number, one in enumerate(result.observations, start=1):
        group = order.add_group("ORU_R01_OBSERVATION")
        _observation(group.add_segment("OBX"), number, one, result)
        if one.low is not None and one.high is not None:
            _note(group.add_segment("NTE"), 1, f"95 % interval {_number(one.low)} to {_number(one.high)} {one.unit}")
    specimen = order.add_group("ORU_R01_SPECIMEN").add_segment("SPM")
    _set(specimen, SPM_1="1", SPM_2=f"^{_text(result.code)}&{_text(result.site)}", SPM_4="BLD^Whole blood^HL70487")
    message.validate()
    return str(message.to_er7()) + "\r"


def _set(segment: Any, **fields: str) -> None:
    """Set fields by their names, such as OBX_5."""
    for name, value in fields.items():
        setattr(segment, name.lower(), value)


def _text(words: str) -> str:
    """Return words with the signs escaped that separate fields."""
    return "".join(_ESCAPES.get(sign, sign) for sign in words)


def _number(value: float) -> str:
    """Return a number in digits: HL7 knows no exponent."""
    return f"{Decimal(repr(value)):f}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%S%z}"


def _header(msh: Any, result: LaboratoryResult) -> None:
    _set(
        msh,
        MSH_3="sicklescope",
        MSH_4=_text(f"{result.site}/{result.device}"),
        MSH_7=_time(result.issued),
        MSH_9="ORU^R01^ORU_R01",
        # Another for each content: answers of a review change it within a revision, and a receiver drops repeats.
        MSH_10=sha256(repr(result).encode()).hexdigest()[:20],
        MSH_11="P",
        MSH_12="2.5.1",
        MSH_18="UNICODE UTF-8",
    )


def _order(obr: Any, result: LaboratoryResult) -> None:
    _set(
        obr,
        OBR_1="1",
        OBR_3=f"{result.sample_id}^sicklescope",
        OBR_4=f"{REPORT_CODE}^{_text(REPORT_NAME)}^{CODES}",
        OBR_7=_time(result.began),
        OBR_8=_time(result.ended),
        OBR_22=_time(result.issued),
        OBR_25=_STATUS[result.status][1],
    )
    if result.signed_by:
        _set(obr, OBR_32=f"&{_text(result.signed_by)}")


def _note(nte: Any, number: int, words: str) -> None:
    _set(nte, NTE_1=str(number), NTE_2="L", NTE_3=_text(words))


def _observation(obx: Any, number: int, one: Observed, result: LaboratoryResult) -> None:
    system = "LN" if one.code == LOINC_PRESENCE else CODES
    kind, value = _value(one)
    _set(
        obx,
        OBX_1=str(number),
        OBX_2=kind,
        OBX_3=f"{one.code}^{_text(one.name)}^{system}",
        OBX_5=value,
        OBX_11=DELETED if one.value is None else _STATUS[result.status][0],
        OBX_14=_time(result.ended),
        OBX_18=_text(f"{result.site}/{result.device}"),
    )
    if one.unit and one.value is not None:
        _set(obx, OBX_6=f"{_text(one.unit)}^{_text(one.unit.strip('{}'))}^UCUM")


def _value(one: Observed) -> tuple[str, str]:
    """Return type and text of a value; no text of one that is taken back."""
    if one.value is None:
        return ("NM" if one.unit else "CWE"), ""
    if isinstance(one.value, bool):
        code, words = ANSWERS[one.value]
        return "CWE", f"{code}^{words}^LN"
    if isinstance(one.value, str):
        return "TX", _text(one.value)
    return "NM", _number(one.value)
