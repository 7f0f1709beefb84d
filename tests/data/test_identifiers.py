from __future__ import annotations

import pytest

from omnireid.data.identifiers import IdError, id_text, is_missing


@pytest.mark.parametrize(
    "text", ["", " NA ", "N/A", "?", "NULL", "-", "NaN", "<NA>", "[none]", "#REF!", "\\N", "unknown"]
)
def test_what_programs_write_for_a_missing_value_is_missing(text: str) -> None:
    assert is_missing(text)


@pytest.mark.parametrize("text", ["0", "-1", "Nan Goldin", "Anna", "x", "(7)", "NAN-1"])
def test_numbers_and_names_are_not_missing(text: str) -> None:
    assert not is_missing(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (7.0, "7"), ("7.000", "7"), (" bob ", "bob"), ("007", "007"), ("Zoe\u0308", "Zo\u00eb")],
)
def test_an_id_is_read_as_text(value: object, text: str) -> None:
    assert id_text(value) == text


@pytest.mark.parametrize("value", [True, 1.5, "1.5", b"bob", [1]])
def test_other_values_are_no_ids(value: object) -> None:
    with pytest.raises(IdError, match="there must be a whole number or a name") as caught:
        id_text(value)
    assert not caught.value.is_missing


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "nan", ""])
def test_no_value_is_a_missing_id(value: object) -> None:
    with pytest.raises(IdError) as caught:
        id_text(value)
    assert caught.value.is_missing
