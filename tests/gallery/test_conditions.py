from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnireid.errors import FilterError
from omnireid.gallery.conditions import Comparison, Condition, Junction, Negation, find_fitting, parse_condition, to_sql
from omnireid.gallery.database import Database
from omnireid.gallery.filters import filter_columns

ROWS: list[dict[str, Any]] = [
    {"row": 0, "bag": "red", "age": 30, "height": 1.5, "hat": True, "seen": datetime(2026, 3, 1, tzinfo=UTC)},
    {"row": 1, "bag": "it's", "age": -4, "height": 0.25, "hat": False, "seen": datetime(2026, 3, 2, tzinfo=UTC)},
    {"row": 2, "bag": "", "age": None, "height": None, "hat": None, "seen": None},
    {"row": 3, "bag": None, "age": 0, "height": -2.0, "hat": True, "seen": datetime(2026, 3, 1, 12, tzinfo=UTC)},
    {"row": 4, "bag": "a\\'b", "age": 2**62, "height": 1e300, "hat": False, "seen": None},
]
SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("bag", pa.string()),
        ("age", pa.int64()),
        ("height", pa.float64()),
        ("hat", pa.bool_()),
        ("seen", pa.timestamp("us", tz="UTC")),
    ]
)
TABLE = pa.Table.from_pylist(ROWS, schema=SCHEMA)
COLUMNS = filter_columns(SCHEMA)
SIGNS = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def fits(condition: Condition, row: Mapping[str, Any]) -> bool | None:
    """Whether a row fits, in three-valued logic."""
    if isinstance(condition, Negation):
        inner = fits(condition.condition, row)
        return None if inner is None else not inner
    if isinstance(condition, Junction):
        values = [fits(part, row) for part in condition.conditions]
        decisive = condition.word == "or"
        return decisive if decisive in values else None if None in values else not decisive
    value = row[condition.column]
    if condition.sign == "none":
        return value is None
    if value is None:
        return None
    if condition.sign == "in":
        return value in condition.values
    return bool(SIGNS[condition.sign](value, condition.values[0]))


VALUES = {
    "bag": st.sampled_from(["red", "it's", "", "a\\'b", '"', "x' or 'a'='a", "ü"]),
    "age": st.sampled_from([30, -4, 0, 2**62, 7]),
    "height": st.sampled_from([1.5, 0.25, -2.0, 1e300, 3]),
    "seen": st.sampled_from([datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)]),
}
COMPARISONS = st.one_of(
    *(
        st.builds(Comparison, st.just(name), st.sampled_from(sorted(SIGNS)), st.tuples(values))
        for name, values in VALUES.items()
    ),
    *(
        st.builds(Comparison, st.just(name), st.just("in"), st.lists(values, min_size=1, max_size=3).map(tuple))
        for name, values in VALUES.items()
    ),
    st.builds(Comparison, st.sampled_from(["bag", "age", "seen", "hat"]), st.just("none")),
    st.builds(Comparison, st.just("hat"), st.just("="), st.tuples(st.booleans())),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.builds(Junction, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=5,
)


def written(condition: Condition) -> str:
    """The condition as a user would type it."""
    if isinstance(condition, Negation):
        return f"not ({written(condition.condition)})"
    if isinstance(condition, Junction):
        return "(" + f" {condition.word} ".join(map(written, condition.conditions)) + ")"
    if condition.sign == "none":
        return f"{condition.column} is none"

    def literal(value: object) -> str:
        if isinstance(value, datetime):
            return f"'{value.isoformat()}'"
        return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else str(value).lower()

    values = [literal(value) for value in condition.values]
    sign = {"<>": "!="}.get(condition.sign, condition.sign)
    return f"{condition.column} in ({', '.join(values)})" if sign == "in" else f"{condition.column}{sign} {values[0]}"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    made = Database(str(tmp_path_factory.mktemp("conditions")))
    made.create("rows", SCHEMA)
    made.append("rows", pa.Table.from_pylist(ROWS, schema=SCHEMA))
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=CONDITIONS)
def test_a_condition_finds_the_rows_that_fit_it(database: Database, condition: Condition) -> None:
    parsed = parse_condition(written(condition), COLUMNS)
    found = database.rows("rows", ["row"], to_sql(parsed)).column("row").to_pylist()
    assert sorted(found) == [row["row"] for row in ROWS if fits(condition, row)]
    assert np.flatnonzero(find_fitting(parsed, TABLE)).tolist() == sorted(found)


def test_values_are_compared_as_the_column_stores_them(tmp_path: Path) -> None:
    """0.35 in float32 is below 0.35, and fits both ``>= 0.35`` and ``= 0.35``, in the database and in memory."""
    stored = pa.table({"quality": pa.array([0.35, 0.5, None], pa.float32())})
    database = Database(str(tmp_path))
    database.create("rows", stored.schema)
    database.append("rows", stored)
    for text, rows in (
        ("quality >= 0.35", 2),
        ("quality = 0.35", 1),
        ("quality < 9", 2),
    ):
        condition = parse_condition(text, filter_columns(stored.schema))
        assert find_fitting(condition, stored).sum() == len(database.rows("rows", None, to_sql(condition))) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bag = 'red'; drop table rows", "is nothing that a condition can have"),
        ("bag = 'red' -- comment", "is nothing that a condition can have"),
        ("bag = 'a' union select 1", "there is more after the end: 'union'"),
        ("bag = (select 1)", "holds text, such as 'red'; found ("),
        ("1 = 1", "there must be the name of a column"),
        ("lower(bag) = 'red'", "no column 'lower'"),
        ("`bag` = 'red'", "is nothing that a condition can have"),
        ("hair = 'red'", "no column 'hair' to filter by. It has: row, bag, age"),
        ("embedding is none", "no column 'embedding'"),
        ("bag = red", "such as 'red'; found red"),
        ("bag = 'red", "is nothing that a condition can have"),
        ("age = '30'", "holds whole numbers, such as 30"),
        ("age >= 1.5", "holds whole numbers"),
        ("age = 99999999999999999999", "holds whole numbers"),
        ("hat = 'true'", "holds true or false, such as true"),
        ("seen > '2026-03-01T00:00:00'", "states no zone"),
        ("seen > 'yesterday'", "is no time"),
        ("bag like 'r%'", "there must be a comparison, not 'like'"),
        ("bag = 'a' and", "there must be the name of a column, not 'the end'"),
        ("(bag = 'a'", "')' is missing before 'the end'"),
        ("bag in ()", "holds text"),
        ("bag is 'a'", "after 'is' there must be"),
        ("(" * 40 + "bag = 'a'" + ")" * 40, "levels of parentheses"),
        ("bag = '" + "a" * 5000 + "'", "4,096 characters at most"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, message: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse_condition(text, COLUMNS)
    assert message in str(refused.value)


def test_a_text_that_looks_like_sql_is_a_text(database: Database, tmp_path: Path) -> None:
    condition = parse_condition("bag = \"x' or 'a'='a\"", COLUMNS)
    assert to_sql(condition) == "(`bag` = 'x'' or ''a''=''a')"
    assert not len(database.rows("rows", None, to_sql(condition)))
