from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omnireid.data.assembly import number_ids, role_problem

TEXTS = st.sampled_from(["0", "7", "07", "12", "-1", "ann", "Bob", "ä", "9" * 30])


@given(st.lists(TEXTS, min_size=1, max_size=12))
def test_numbers_tell_the_same_people_apart_as_the_texts(texts: list[str]) -> None:
    ids, named = number_ids(texts)
    assert len(set(ids.tolist())) == len(set(texts))
    assert {i for i, text in zip(ids.tolist(), texts, strict=True) if text == "-1"} <= {-1}
    if named:
        people = sorted(set(texts) - {"-1"})
        assert [people[i] for i in ids.tolist() if i != -1] == [text for text in texts if text != "-1"]
    else:
        assert [str(i) for i in ids.tolist()] == [text.lstrip("0") or "0" for text in texts]


def test_whole_numbers_stay_and_names_are_counted_out() -> None:
    assert number_ids(["0002", "10", "-1"])[0].tolist() == [2, 10, -1]
    assert number_ids(["2", "02"])[0].tolist() == [1, 0]
    assert number_ids(["b", "a", "-1", "b"])[0].tolist() == [1, 0, -1, 1]


def test_what_a_split_needs() -> None:
    assert role_problem({"query", "gallery"}) is None
    assert role_problem({"train", "test"}) is None
    assert role_problem({"train"}) == "no gallery and no query"
    assert role_problem({"query", "train"}) == "no gallery"
    assert "beside" in str(role_problem({"test", "query", "gallery"}))
