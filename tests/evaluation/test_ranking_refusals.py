"""What `evaluate_ranking` refuses, and what it says; the rankings themselves are in test_ranking.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.evaluation.reference import label

from omnireid.errors import EmbeddingError, LabelsError, NoTrueMatchError, SettingError, ShapeError
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.terms import Protocol
from omnireid.types import Labels

ONE = label([1], [1])


def labelled(n: int) -> Labels:
    return label(np.arange(n), np.arange(n) + 1)


@pytest.mark.parametrize(
    ("query", "gallery", "message"),
    [
        (np.zeros((1, 3)), np.zeros((1, 4)), r"3 wide but gallery embeddings 4: .* different models.* same weights"),
        (np.zeros((0, 3)), np.zeros((1, 3)), r"no query embeddings: got shape \(0, 3\)"),
        (np.zeros((1, 3)), np.zeros((0, 3)), r"no gallery embeddings"),
        (np.zeros(3), np.zeros((1, 3)), r"query embeddings must be \(N, D\).*got shape \(3,\).*embedding\[None, :\]"),
        (np.zeros((1, 3), dtype=complex), np.zeros((1, 3)), r"real numbers; got complex128"),
        (np.zeros((2, 3)), np.zeros((1, 3)), r"2 query embeddings but 1 query labels"),
        (np.zeros((1, 3)), np.zeros((4, 3)), r"4 gallery embeddings but 1 gallery labels"),
    ],
)
def test_wrong_shapes_are_named(query: npt.NDArray[Any], gallery: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        evaluate_ranking(query, gallery, ONE, label([1], [2]))


@pytest.mark.parametrize("protocol", ["single-query", "single-gallery-shot"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(protocol: Protocol, kind: type, bad: float) -> None:
    values: npt.NDArray[Any] = np.ones((4, 3), dtype=kind)
    values[2, 1] = bad
    fine = np.ones((4, 3))
    labels = label([1, 1, 1, 1], [1, 1, 2, 2])
    for query, gallery, side in ((values, fine, "query"), (fine, values, "gallery")):
        with pytest.raises(EmbeddingError, match=rf"{side} embedding 2 .* has {bad} in column 1; 1 of 4 rows"):
            evaluate_ranking(query, gallery, labels, labels, protocol=protocol)


def test_values_too_large_for_float32_are_named() -> None:
    values = np.full((1, 2), 1e30)
    with pytest.raises(EmbeddingError, match=r"query embedding 0 .*values so large \(up to 1e\+30\)"):
        evaluate_ranking(values, values, ONE, label([1], [2]))


@pytest.mark.parametrize("protocol", ["single-query", "multi-query", "single-gallery-shot"])
def test_missing_cameras_are_refused_with_the_remedy(protocol: Protocol) -> None:
    one = np.zeros((1, 1))
    if protocol != "single-gallery-shot":  # it is one crop a person to find, with cameras or without
        with pytest.raises(
            LabelsError, match=r'the query and the gallery labels have no camera ids.*protocol="no-cameras"'
        ):
            evaluate_ranking(one, one, label([1]), label([1]), protocol=protocol)
    with pytest.raises(LabelsError, match=r"but the gallery labels have no camera ids"):
        evaluate_ranking(one, one, ONE, label([1]), protocol=protocol)


@pytest.mark.parametrize(
    ("query", "gallery", "protocol", "message"),
    [
        (
            label([1, 2], [1, 2]),
            label([10, 11, 12, 13, 14, 15, 16, 17], [1, 2, 3, 4, 5, 6, 7, 8]),
            "single-query",
            r"None of the 2 queries .* 8 gallery crops.*Persons: 2 \(1, 2\) in the query, 8 \(10, 11, 12, 13, 14, 15 "
            r"… 17\) in the gallery\. Cameras: 2 \(1, 2\).*numbered separately",
        ),
        (label([1, 2], [0, 0]), label([1, 2], [0, 0]), "single-query", r"Every crop carries camera 0.*no-cameras"),
        (label([1, 2], [1, 2]), label([1, 2], [1, 2]), "multi-query", r"only by the query's own camera.*no-cameras"),
        (label([1]), label([2]), "no-cameras", r"1 \(2\) in the gallery\. No query person is in the gallery"),
        (label([-1], [1]), label([-1], [2]), "single-query", r"No query person is in the gallery"),
        (label([-1], [1]), label([1], [2]), "multi-query", r"None of the 1 queries"),
    ],
)
def test_nothing_to_find_is_explained(query: Labels, gallery: Labels, protocol: Protocol, message: str) -> None:
    with pytest.raises(NoTrueMatchError, match=message):
        evaluate_ranking(np.zeros((len(query), 1)), np.zeros((len(gallery), 1)), query, gallery, protocol=protocol)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "manhattan"}, r"distance: there is no 'manhattan'. Known: euclidean, cosine"),
        ({"protocol": "market"}, r"protocol: there is no 'market'. Known: single-query"),
        ({"max_rank": 0}, r"max_rank must be a whole number, at least 1; got 0"),
        ({"max_rank": "4"}, r"max_rank must be a whole number, at least 1; got '4'"),
        ({"repeats": 0}, r"repeats must be a whole number, at least 1; got 0"),
        ({"bootstrap_samples": -1}, r"bootstrap_samples must be a whole number, at least 0; got -1"),
        ({"seed": -1}, r"seed must be a whole number, at least 0; got -1"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    one = np.zeros((1, 1))
    with pytest.raises(SettingError, match=message):
        evaluate_ranking(one, one, ONE, label([1], [2]), **options)


def test_arguments_of_another_type_are_taken_where_their_meaning_is_clear() -> None:
    torch = pytest.importorskip("torch")
    rows = torch.tensor([[0.0], [1.0], [9.0]], requires_grad=True)
    for query in (rows, rows.bfloat16(), rows.tolist()):
        scores = evaluate_ranking(query, rows, [1, 2, 3], [1, 2, 3], protocol="no-cameras")  # type: ignore[arg-type]
        assert scores.rank1 == 1


@pytest.mark.parametrize(
    ("query", "labels", "error", "message"),
    [
        ([[0.0], [1.0, 2.0]], [1, 2], ShapeError, "query must be an array, or lists of one length; got a list"),
        ([[0.0]], [[1], [2, 3]], LabelsError, "query_labels must be an array, or lists of one length; got a list"),
        ([[0.0]], ["bob"], LabelsError, "query_labels must be integers"),
        ([[0.0]], None, LabelsError, "query_labels must be Labels or a list of person ids; got a NoneType"),
    ],
)
def test_arguments_without_a_clear_meaning_are_named(
    query: Any, labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate_ranking(query, np.zeros((1, 1)), labels, ONE)
