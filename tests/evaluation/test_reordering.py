"""Evaluation of re-ranked galleries and expanded queries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from tests.evaluation.reference import distance_matrix, label, rank_by_sorting
from tests.retrieval.reference import expand_densely, rerank_densely

from omnireid.errors import OmnireidError, SettingError
from omnireid.evaluation.protocols import average_queries
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.evaluation.scores import RankingScores, average_scores
from omnireid.retrieval.options import QueryExpansion, Reranking
from omnireid.terms import DISTANCES, Distance
from omnireid.types import FloatArray, Labels


class Case(NamedTuple):
    query: FloatArray
    gallery: FloatArray
    query_labels: Labels
    gallery_labels: Labels


def make_case(queries: int = 40, crops: int = 160, seed: int = 0) -> Case:
    """People in overlapping clusters, with distractors and junk in the gallery."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((14, 12))
    query_people, gallery_people = rng.integers(1, 12, queries), rng.integers(-1, 12, crops)
    query, gallery = (
        (centres[people] + 0.8 * rng.standard_normal((len(people), 12))).astype(np.float32)
        for people in (query_people, gallery_people)
    )
    cameras = rng.integers(0, 3, queries), rng.integers(0, 3, crops)
    return Case(query, gallery, label(query_people, cameras[0]), label(gallery_people, cameras[1]))


def assert_equals_sorting(
    scores: RankingScores, matrix: npt.NDArray[np.float64], query: Labels, gallery: Labels, cameras: bool = True
) -> None:
    left, right = query.camera_ids, gallery.camera_ids
    assert left is not None
    assert right is not None
    expected = rank_by_sorting(
        matrix,
        query.person_ids.tolist(),
        left.tolist() if cameras else None,
        gallery.person_ids.tolist(),
        right.tolist() if cameras else None,
        50,
    )
    assert expected is not None
    assert scores.cmc == pytest.approx(expected.cmc, abs=1e-12)
    assert scores.mean_average_precision == pytest.approx(expected.mean_average_precision, abs=1e-12)
    assert scores.mean_inverse_negative_penalty == pytest.approx(expected.mean_inverse_negative_penalty, abs=1e-12)
    assert (scores.queries, scores.gallery) == (expected.queries, expected.gallery)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("seed", range(4))
def test_reranked_scores_equal_the_dense_reference(distance: Distance, seed: int) -> None:
    case, reranking = make_case(seed=seed), Reranking(k1=10, k2=4, lambda_value=0.2)
    scores = evaluate_ranking(*case, distance, reranking=reranking)
    matrix = rerank_densely(case.query, case.gallery, 10, 4, 0.2, distance)
    assert_equals_sorting(scores, matrix, case.query_labels, case.gallery_labels)
    assert scores.reranking == reranking
    assert scores.mean_average_precision != evaluate_ranking(*case, distance).mean_average_precision


def test_no_cameras_and_camera_pairs() -> None:
    case, reranking = make_case(), Reranking(k1=10)
    matrix = rerank_densely(case.query, case.gallery, 10)
    scores = evaluate_ranking(*case, protocol="no-cameras", reranking=reranking)
    assert_equals_sorting(scores, matrix, case.query_labels, case.gallery_labels, cameras=False)
    assert case.gallery_labels.camera_ids is not None
    assert case.query_labels.camera_ids is not None
    rows, columns = case.query_labels.camera_ids == 1, case.gallery_labels.camera_ids == 2
    expected = rank_by_sorting(
        matrix[np.ix_(rows, columns)],
        case.query_labels.person_ids[rows].tolist(),
        None,
        case.gallery_labels.person_ids[columns].tolist(),
        None,
        20,
    )
    pairs = evaluate_ranking(*case, reranking=reranking, camera_pairs=True).camera_pairs
    pair = next(one for one in pairs if (one.query_camera, one.gallery_camera) == (1, 2))
    assert expected is not None
    assert pair.mean_average_precision == pytest.approx(expected.mean_average_precision)


@pytest.mark.parametrize("distance", DISTANCES)
def test_multi_query_averages_then_expands_then_reranks(distance: Distance) -> None:
    case, reranking, expansion = make_case(), Reranking(k1=8, k2=3), QueryExpansion(3, 2.0)
    scores = evaluate_ranking(*case, distance, protocol="multi-query", reranking=reranking, expansion=expansion)
    query, labels, _ = average_queries(case.query, case.query_labels, distance)
    expanded = expand_densely(query, case.gallery, 3, 2.0, distance)
    matrix = rerank_densely(expanded, case.gallery, 8, 3, 0.3, distance)
    assert_equals_sorting(scores, matrix, labels, case.gallery_labels)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_expanded_scores_equal_the_dense_reference(distance: Distance, alpha: float) -> None:
    case = make_case()
    scores = evaluate_ranking(*case, distance, expansion=QueryExpansion(4, alpha))
    expanded = expand_densely(case.query, case.gallery, 4, alpha, distance)
    matrix = distance_matrix(expanded, case.gallery, distance)
    assert_equals_sorting(scores, matrix, case.query_labels, case.gallery_labels)
    assert scores.expansion == QueryExpansion(4, alpha)


def test_drawn_galleries_are_refused() -> None:
    case = make_case()
    with pytest.raises(SettingError, match=r"Re-ranking looks at .*single-gallery-shot .*--protocol single-query"):
        evaluate_ranking(*case, protocol="single-gallery-shot", reranking=Reranking())
    with pytest.raises(SettingError, match=r"Query expansion looks at .*evaluate without it"):
        evaluate_ranking(*case, protocol="single-gallery-shot", expansion=QueryExpansion())


def test_scores_say_that_they_are_reranked() -> None:
    case = make_case()
    scores = evaluate_ranking(*case, reranking=Reranking(), expansion=QueryExpansion(4, 3.0))
    assert "RE-RANKED: k-reciprocal encoding (k1 20, k2 6, lambda 0.3)" in scores.table()
    assert "EXPANDED: each query averaged with its 4 nearest gallery crops (α-QE, alpha 3)" in scores.table()
    assert scores.json()["reranking"] == {"k1": 20, "k2": 6, "lambda_value": 0.3}
    assert scores.json()["query_expansion"] == {"count": 4, "alpha": 3.0}
    plain = evaluate_ranking(*case)
    assert "RE-RANKED" not in plain.table()
    assert (plain.json()["reranking"], plain.json()["query_expansion"]) == (None, None)
    assert "(AQE)" in evaluate_ranking(*case, expansion=QueryExpansion()).table()


def test_reranked_scores_average_with_their_like_alone() -> None:
    case = make_case()
    reranked, plain = evaluate_ranking(*case, reranking=Reranking()), evaluate_ranking(*case)
    assert average_scores([reranked, reranked]).reranking == Reranking()
    with pytest.raises(OmnireidError, match=r"length of curve and re-ranking can be averaged; got .*RE-RANKED"):
        average_scores([reranked, plain])
