"""The language of ``where``: comparisons of columns with values, read here, and written as SQL or decided here.

A condition such as ``bag = 'red' and (age >= 30 or age is none)`` is parsed into
a tree, checked against the columns, and only then written as a filter. No text of
the user's reaches the database but quoted values, so a condition can do nothing
but filter::

    condition   = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation    = ["not"] ("(" condition ")" | comparison)
    comparison  = column ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | column ["not"] "in" "(" value {"," value} ")"
                | column "is" ["not"] "none"
    value       = 'text' | "text" | number | "true" | "false"

A row without a value in the column fits neither a comparison nor its negation, only ``is none``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Literal

from omnireid.errors import DataError, FilterError
from omnireid.gallery.times import parse_time

if TYPE_CHECKING:
    import pyarrow as pa

    from omnireid.types import BoolArray

Kind = Literal["text", "whole numbers", "numbers", "times", "true or false"]
Value = str | float | int | bool | datetime

_EXAMPLES: dict[Kind, str] = {
    "text": "'red'",
    "whole numbers": "30",
    "numbers": "1.5",
    "times": "'2026-03-01T08:00:00+01:00'",
    "true or false": "true",
}

_COMPARISONS = {
    "=": "equal",
    "<>": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
"""What pyarrow calls the comparisons."""

LONGEST_CONDITION = 4096
_DEEPEST = 32
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><=|>=|!=|==|=|<|>|\(|\)|,))"
)


@dataclass(frozen=True)
class Comparison:
    """A column compared with values.

    Attributes:
        column: Name of the column.
        sign: ``=``, ``<>``, ``<``, ``<=``, ``>``, ``>=``, ``in`` or ``none``.
        values: The values; several for ``in``, none for ``none``.
    """

    column: str
    sign: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Negation:
    """What does not fit a condition."""

    condition: Condition


@dataclass(frozen=True)
class Junction:
    """Conditions of which all (``and``) or any (``or``) must fit."""

    word: Literal["and", "or"]
    conditions: tuple[Condition, ...]


Condition = Comparison | Negation | Junction


def parse_condition(text: str, columns: Mapping[str, Kind]) -> Condition:
    """Read a condition.

    Args:
        text: The condition.
        columns: The columns it may name, and what their values are.

    Raises:
        FilterError: it is no condition, names an unknown column, or compares one with a value of another kind.
    """
    if len(text) > LONGEST_CONDITION:
        raise FilterError(f"where: a condition has {LONGEST_CONDITION:,} characters at most; got {len(text):,}.")
    parser = _Parser(text, columns)
    condition = parser.condition(0)
    parser.expect_end()
    return condition


def to_sql(condition: Condition) -> str:
    """The condition as a filter for the database. Every value is quoted or a plain number."""
    if isinstance(condition, Negation):
        return f"(NOT {to_sql(condition.condition)})"
    if isinstance(condition, Junction):
        return "(" + f" {condition.word.upper()} ".join(map(to_sql, condition.conditions)) + ")"
    if condition.sign == "none":
        return f"(`{condition.column}` IS NULL)"
    values = [_literal(value) for value in condition.values]
    if condition.sign == "in":
        return f"(`{condition.column}` IN ({', '.join(values)}))"
    return f"(`{condition.column}` {condition.sign} {values[0]})"


def find_fitting(condition: Condition, table: pa.Table) -> BoolArray:
    """Whether each row of a table in memory fits, as the database decides it: values take the type of the column."""
    import pyarrow.compute as pc

    fits: BoolArray = pc.fill_null(_fits(condition, table), fill_value=False).to_numpy()
    return fits


def _fits(condition: Condition, table: pa.Table) -> pa.ChunkedArray:
    """True, false or null for each row, in three-valued logic."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(condition, Negation):
        return pc.invert(_fits(condition.condition, table))
    if isinstance(condition, Junction):
        join = pc.and_kleene if condition.word == "and" else pc.or_kleene
        return reduce(join, [_fits(part, table) for part in condition.conditions])
    column = table.column(condition.column)
    if condition.sign == "none":
        return pc.is_null(column)
    values = pa.array(condition.values, column.type)
    if condition.sign == "in":
        return pc.if_else(pc.is_valid(column), pc.is_in(column, value_set=values), pa.scalar(None, pa.bool_()))
    return getattr(pc, _COMPARISONS[condition.sign])(column, values[0])


def named_columns(condition: Condition) -> set[str]:
    """The columns that a condition names."""
    if isinstance(condition, Comparison):
        return {condition.column}
    parts = (condition.condition,) if isinstance(condition, Negation) else condition.conditions
    return set().union(*map(named_columns, parts))


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


class _Parser:
    """One pass over the tokens of a condition."""

    def __init__(self, text: str, columns: Mapping[str, Kind]) -> None:
        self._text = text
        self._columns = columns
        self._position = 0
        self._kind = ""
        self._token = ""
        self._advance()

    def condition(self, depth: int) -> Condition:
        """Read conjunctions joined by ``or``."""
        if depth > _DEEPEST:
            raise FilterError(f"where: a condition has {_DEEPEST} levels of parentheses at most.")
        parts = [self._conjunction(depth)]
        while self._take_word("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Junction("or", tuple(parts))

    def expect_end(self) -> None:
        """Refuse anything after the condition."""
        if self._token:
            raise self._error(f"there is more after the end: {self._token!r}")

    def _conjunction(self, depth: int) -> Condition:
        parts = [self._negation(depth)]
        while self._take_word("and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))

    def _negation(self, depth: int) -> Condition:
        if self._take_word("not"):
            return Negation(self._negation_operand(depth))
        return self._negation_operand(depth)

    def _negation_operand(self, depth: int) -> Condition:
        if self._take("("):
            inner = self.condition(depth + 1)
            self._require(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        if self._kind != "word":
            raise self._error(f"there must be the name of a column, not {self._token or 'the end'!r}")
        column = self._token
        if column not in self._columns:
            raise FilterError(
                f"where: the gallery has no column {column!r} to filter by. It has: {', '.join(self._columns)}."
            )
        self._advance()
        if self._take_word("is"):
            is_negated = self._take_word("not")
            if not (self._take_word("none") or self._take_word("null")):
                raise self._error("after 'is' there must be 'none' or 'not none'")
            return Negation(Comparison(column, "none")) if is_negated else Comparison(column, "none")
        is_negated = self._take_word("not")
        if self._take_word("in"):
            inside = Comparison(column, "in", self._values(column))
            return Negation(inside) if is_negated else inside
        sign = {"==": "=", "!=": "<>"}.get(self._token, self._token)
        if is_negated or self._kind != "sign" or sign not in ("=", "<>", "<", "<=", ">", ">="):
            raise self._error(f"after the column {column} there must be a comparison, not {self._token or 'the end'!r}")
        self._advance()
        return Comparison(column, sign, (self._value(column),))

    def _values(self, column: str) -> tuple[Value, ...]:
        self._require("(")
        values = [self._value(column)]
        while self._take(","):
            values.append(self._value(column))
        self._require(")")
        return tuple(values)

    def _value(self, column: str) -> Value:
        """A value of the kind that the column holds."""
        kind, given, wanted = self._kind, self._token, self._columns[column]
        self._advance()
        if kind == "text":
            text = given[1:-1].replace(given[0] * 2, given[0])
            if wanted == "text":
                return text
            if wanted == "times":
                return self._time(text, column)
        is_whole = kind == "number" and not any(sign in given for sign in ".eE") and abs(int(given)) < 2**63
        if is_whole and wanted == "whole numbers":
            return int(given)
        if kind == "number" and wanted == "numbers":
            return float(given)
        if kind == "word" and wanted == "true or false" and given.lower() in ("true", "false"):
            return given.lower() == "true"
        raise self._error(
            f"the column {column} holds {wanted}, such as {_EXAMPLES[wanted]}; found {given or 'the end'}"
        )

    def _time(self, text: str, column: str) -> datetime:
        try:
            time = parse_time(text, f"the column {column}")
        except DataError as error:
            raise FilterError(f"where: {error}") from error
        if time is None:
            raise self._error("a time is empty")
        return time

    def _take(self, token: str) -> bool:
        if self._kind != "sign" or self._token != token:
            return False
        self._advance()
        return True

    def _take_word(self, word: str) -> bool:
        if self._kind != "word" or self._token.lower() != word:
            return False
        self._advance()
        return True

    def _require(self, token: str) -> None:
        if not self._take(token):
            raise self._error(f"{token!r} is missing before {self._token or 'the end'!r}")

    def _advance(self) -> None:
        rest = self._text[self._position :]
        if not rest.strip():
            self._kind = self._token = ""
            return
        found = _TOKEN.match(rest)
        if found is None:
            raise self._error(f"{rest.strip()[:20]!r} is nothing that a condition can have")
        self._position += found.end()
        self._kind = found.lastgroup or ""
        self._token = found.group(self._kind)

    def _error(self, problem: str) -> FilterError:
        return FilterError(
            f"where: {problem}, in {self._text!r:.200}. A condition compares columns with values, such as "
            "\"bag = 'red' and age >= 30\"."
        )
