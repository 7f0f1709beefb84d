"""Ids of people and cameras as people and programs write them: which are missing, and which were spoiled."""

from __future__ import annotations

import math
import re
import unicodedata

_MISSING = frozenset(
    {
        *("", "?", "??", "???", "-", "--", "---", "–", "—", ".", "..", "...", "*", "_"),
        *("na", "n/a", "n.a", "n.a.", "n/d", "nan", "-nan", "+nan", "nat", "pd.na", "pd.nat", "np.nan"),
        *("null", "none", "nil", "undefined", "missing", "unknown", "unk", "empty", r"\n"),
        *("#n/a", "#na", "#n/a n/a", "#null!", "#ref!", "#value!", "#name?", "#num!", "#div/0!"),
        *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "inf", "-inf", "infinity"),
    }
)
_BRACKETS = re.compile(r"<(.*)>|\((.*)\)|\[(.*)\]")
_WHOLE_AS_FRACTION = re.compile(r"(-?[0-9]+)\.([0-9]*)")
_EXPONENT = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]*)?[eE][-+][0-9]{2,}")
_UNSIGNED_MINUS_ONE = frozenset({str(2**32 - 1), str(2**64 - 1)})
_LARGEST_EXACT_FLOAT = 2**53


def is_missing(text: str) -> bool:
    """Whether `text` is how some program or person writes that a value is not known, such as ``N/A`` or ``?``."""
    text = text.strip().casefold()
    bracketed = _BRACKETS.fullmatch(text)
    return (next(filter(None, bracketed.groups()), "") if bracketed else text).strip() in _MISSING


class IdError(ValueError):
    """A value that is no id.

    Attributes:
        problem: what is wrong with it, as part of a sentence.
        advice: what to do about it, in sentences.
        is_missing: whether there is no value at all.
    """

    def __init__(
        self,
        problem: str = "there must be a whole number or a name",
        advice: str = "Fill it in, or delete the row.",
        *,
        is_missing: bool = False,
    ) -> None:
        super().__init__(f"{problem}. {advice}")
        self.problem = problem
        self.advice = advice
        self.is_missing = is_missing


def id_text(value: object) -> str:
    """An id as text, in Unicode's composed form: whole numbers as digits, everything else as it is written.

    Raises:
        IdError: the value is missing, or no id can be read from it safely.
    """
    if isinstance(value, float):  # pandas turns a column of whole numbers with gaps into floats
        if math.isfinite(value) and abs(value) > _LARGEST_EXACT_FLOAT:
            raise IdError("a float holds no more than 15 digits of a number", "Store ids as integers or as text.")
        if not math.isfinite(value):
            raise IdError(is_missing=True)
        if not value.is_integer():
            raise IdError
        value = int(value)
    if value is None or isinstance(value, bool) or not isinstance(value, (int, str)):
        raise IdError(is_missing=value is None)
    text = unicodedata.normalize("NFC", str(value).strip())
    if is_missing(text):
        raise IdError(is_missing=True)
    if text in _UNSIGNED_MINUS_ONE:
        raise IdError(
            "this is -1 stored as an unsigned number", "Store ids as signed integers; person_id -1 marks junk."
        )
    if _EXPONENT.fullmatch(text):
        raise IdError(
            "a spreadsheet wrote this number with an exponent and may have dropped digits",
            "Restore the ids from their source, and format the column as text before saving.",
        )
    fraction = _WHOLE_AS_FRACTION.fullmatch(text)
    if fraction is None:
        return text
    if fraction.group(2).strip("0"):
        raise IdError
    return fraction.group(1)
