"""Which text may be a sample's code, and that a refused one is repeated nowhere: it may be a person's name."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SampleError
from edge.sample.codes import sample_code


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Amina Okello", "a space as character 6 of 12"),
        ("Zoë", "a letter outside A to Z as character 3 of 3"),
        ("amina/okello", "another sign as character 6 of 12"),
        ("-amina", "another sign as character 1 of 6"),
        ("a" * 64, "has 64 characters"),
        ("", "is empty"),
        ("amina\n", "a space as character 6 of 6"),
    ],
)
def test_a_refused_code_is_described_and_not_repeated(text: str, fault: str) -> None:
    """Kind: a name that was typed as a code stood in the log, in events and in answers."""
    with pytest.raises(SampleError, match=fault) as refused:
        sample_code(text)
    whole = "".join(traceback.format_exception(refused.value))
    assert not text or text not in whole


def test_a_code_of_another_clinic_is_not_repeated() -> None:
    with pytest.raises(SampleError, match=r"expects K-\\d\+") as refused:
        sample_code("AminaOkello", r"K-\d+")
    assert "Amina" not in str(refused.value)


@given(st.text(max_size=80))
def test_any_text_is_a_code_or_is_refused(text: str) -> None:
    try:
        code = sample_code(text)
    except SampleError:
        return
    assert code == text
