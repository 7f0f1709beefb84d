from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.reference import Reference, distance_matrix, label, rank_by_sorting

from omnireid.errors import NoTrueMatchError
from omnireid.evaluation.query_scores import score_matches
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.evaluation.scores import RankingScores
from omnireid.retrieval import comparison
from omnireid.terms import DISTANCES, Distance, Protocol
from omnireid.types import Labels

# Sign vectors of 4 have length 2 and quarter steps are exact in float32: every tie in float64 is a tie in float32.
SIGNS = np.array(
    [[1, 1, 1, 1], [1, 1, 1, -1], [1, -1, 1, -1], [-1, -1, 1, 1], [-2, -2, -2, -2], [0, 0, 0, 0], [0, 0, 4, 0]]
)


class Case(NamedTuple):
    query: npt.NDArray[Any]
    gallery: npt.NDArray[Any]
    query_labels: Labels
    gallery_labels: Labels
    distance: Distance
    max_rank: int


@st.composite
def cases(draw: st.DrawFn, cameras: bool | None = None) -> Case:
    """Small rankings with many ties, copies, junk, distractors and queries that cannot be found."""
    chosen = draw(st.sampled_from(DISTANCES))
    queries, crops = draw(st.integers(1, 8)), draw(st.integers(1, 25))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if chosen == "cosine":
        query, gallery = rng.choice(SIGNS, queries), rng.choice(SIGNS, crops)
    else:
        width, steps = draw(st.integers(1, 5)), draw(st.sampled_from([2, 5, 40]))
        query, gallery = (rng.integers(-steps, steps + 1, (n, width)) / 4 for n in (queries, crops))
    persons = draw(st.integers(1, 5))
    has_cameras = draw(st.booleans()) if cameras is None else cameras
    count = draw(st.integers(1, 3))

    def labels(n: int, lowest: int) -> Labels:
        return label(rng.integers(lowest, persons, n), rng.integers(0, count, n) if has_cameras else None)

    kind = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    labelled = labels(queries, -1 if seed % 5 == 0 else 0), labels(crops, -1)
    return Case(query.astype(kind), gallery.astype(kind), *labelled, chosen, draw(st.integers(20, 40)))


def evaluate(case: Case, **options: Any) -> RankingScores | None:
    protocol: Protocol = "no-cameras" if case.query_labels.camera_ids is None else "single-query"
    try:
        return evaluate_ranking(
            *case[:4], case.distance, protocol=protocol, max_rank=case.max_rank, bootstrap_samples=0, **options
        )
    except NoTrueMatchError:
        return None


def refer(case: Case, columns: npt.NDArray[np.bool_] | None = None) -> Reference | None:
    keep = np.ones(len(case.gallery), dtype=bool) if columns is None else columns
    query, gallery = case.query_labels, case.gallery_labels
    return rank_by_sorting(
        distance_matrix(case.query, case.gallery[keep], case.distance),
        query.person_ids.tolist(),
        None if query.camera_ids is None else query.camera_ids.tolist(),
        gallery.person_ids[keep].tolist(),
        None if gallery.camera_ids is None else gallery.camera_ids[keep].tolist(),
        case.max_rank,
    )


@settings(max_examples=400, deadline=None)
@given(cases())
def test_equals_the_sorted_matrix(case: Case) -> None:
    scores, reference = evaluate(case), refer(case)
    assert (scores is None) == (reference is None)
    if scores is not None and reference is not None:
        assert scores.cmc == pytest.approx(reference.cmc, abs=1e-12)
        assert scores.mean_average_precision == pytest.approx(reference.mean_average_precision, abs=1e-12)
        assert scores.mean_inverse_negative_penalty == pytest.approx(reference.mean_inverse_negative_penalty, abs=1e-12)
        assert (scores.queries, scores.queries_without_match) == (reference.queries, reference.left_out)
        assert scores.gallery == reference.gallery
        assert sum(scores.left_out.values()) == reference.left_out


@settings(max_examples=100, deadline=None)
@given(cases(cameras=True))
def test_camera_pairs_equal_rankings_of_one_camera(case: Case) -> None:
    scores = evaluate(case, camera_pairs=True)
    if scores is None:
        return
    query_cameras, gallery_cameras = case.query_labels.camera_ids, case.gallery_labels.camera_ids
    assert query_cameras is not None
    assert gallery_cameras is not None
    found = {(pair.query_camera, pair.gallery_camera): pair for pair in scores.camera_pairs}
    for camera in np.unique(query_cameras).tolist():
        some = query_cameras == camera
        one = case._replace(
            query=case.query[some], query_labels=Labels(case.query_labels.person_ids[some], query_cameras[some])
        )
        for other in np.unique(gallery_cameras).tolist():
            expected = refer(one, gallery_cameras == other) if other != camera else None
            pair = found.pop((camera, other), None)
            assert (pair is None) == (expected is None)
            if pair is not None and expected is not None:
                assert pair.queries == expected.queries
                assert pair.rank1 == pytest.approx(expected.cmc[0])
                assert pair.mean_average_precision == pytest.approx(expected.mean_average_precision)
    assert not found


def close(one: RankingScores, other: RankingScores) -> bool:
    """Whether two results are equal but for the order in which floats were added."""
    first, second = ((*s.cmc, s.mean_average_precision, s.mean_inverse_negative_penalty) for s in (one, other))
    counts = [(s.queries, s.queries_without_match, s.gallery, dict(s.left_out)) for s in (one, other)]
    return counts[0] == counts[1] and np.allclose(first, second, rtol=0, atol=1e-12)


def real_case(distance: Distance, queries: int = 40, crops: int = 300, seed: int = 0) -> Case:
    """Real-valued embeddings, each gallery crop a few times, so that there are exact ties to break."""
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((queries, 33)).astype(np.float32)
    gallery = rng.standard_normal((crops, 33)).astype(np.float32)[rng.integers(0, crops, crops)]
    query_labels, gallery_labels = (label(rng.integers(0, 12, n), rng.integers(0, 3, n)) for n in (queries, crops))
    return Case(query, gallery, query_labels, gallery_labels, distance, 50)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_query_order_changes_nothing(distance: Distance) -> None:
    case = real_case(distance)
    order = np.random.default_rng(1).permutation(len(case.query))
    assert case.query_labels.camera_ids is not None
    labels = Labels(case.query_labels.person_ids[order], case.query_labels.camera_ids[order])
    scores, shuffled = evaluate(case), evaluate(case._replace(query=case.query[order], query_labels=labels))
    assert scores is not None
    assert shuffled is not None
    assert close(scores, shuffled)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_gallery_order_changes_nothing_without_ties(distance: Distance) -> None:
    case = real_case(distance)
    case = case._replace(gallery=np.random.default_rng(2).standard_normal(case.gallery.shape))
    order = np.random.default_rng(1).permutation(len(case.gallery))
    assert case.gallery_labels.camera_ids is not None
    labels = Labels(case.gallery_labels.person_ids[order], case.gallery_labels.camera_ids[order])
    scores, shuffled = evaluate(case), evaluate(case._replace(gallery=case.gallery[order], gallery_labels=labels))
    assert scores is not None
    assert shuffled is not None
    assert close(scores, shuffled)


@pytest.mark.parametrize("rows", [1, 3, 39])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_block_size_changes_nothing(distance: Distance, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case, rng = real_case(distance), np.random.default_rng(0)  # exact in float32, for blocks may round differently
    case = case._replace(query=rng.choice(SIGNS, len(case.query)), gallery=rng.choice(SIGNS, len(case.gallery)))
    whole = evaluate(case, camera_pairs=True)
    monkeypatch.setattr(comparison, "block_rows", lambda queries, gallery: rows)
    assert evaluate(case, camera_pairs=True) == whole


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_half_precision_is_its_float32_value(distance: Distance) -> None:
    case = real_case(distance)
    half = case._replace(query=case.query.astype(np.float16), gallery=case.gallery.astype(np.float16))
    single = half._replace(query=half.query.astype(np.float32), gallery=half.gallery.astype(np.float32))
    assert evaluate(half) == evaluate(single)


def test_inputs_are_not_changed() -> None:
    case = real_case("cosine")
    before = case.query.copy(), case.gallery.copy()
    evaluate(case)
    np.testing.assert_array_equal(case.query, before[0])
    np.testing.assert_array_equal(case.gallery, before[1])


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_ties_beyond_one_span_go_to_the_lower_index(distance: Distance) -> None:
    gallery = np.tile(np.random.default_rng(0).standard_normal((1, 20)), (9001, 1)).astype(np.float32)
    query = np.random.default_rng(1).standard_normal((3, 20)).astype(np.float32)
    persons = np.zeros(9001, dtype=int)
    persons[[0, 4500, 9000]] = [1, 2, 3]
    scores = [
        evaluate_ranking(query[[n]], gallery, label([n + 1]), Labels(persons), distance, protocol="no-cameras")
        for n in range(3)
    ]
    assert [1 / one.mean_average_precision for one in scores] == pytest.approx([1, 4501, 9001])


def test_a_worked_example() -> None:
    # One query, ranking by distance 1 2 3 4 5: right, wrong, right, junk (dropped), right; a crop of its camera first.
    gallery = np.array([[0.5], [1], [2], [3], [4], [5]])
    labels = label([7, 7, 0, 7, -1, 7], [1, 2, 1, 3, 2, 2])
    scores = evaluate_ranking(np.zeros((1, 1)), gallery, label([7], [1]), labels)
    assert scores.cmc == (1.0,) * 50
    assert scores.mean_average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert scores.mean_inverse_negative_penalty == pytest.approx(3 / 4)
    assert scores.gallery == 5


def test_a_gallery_of_one_crop_gives_a_flat_curve() -> None:
    scores = evaluate_ranking([[1.0]], [[2.0]], label([1], [1]), label([1], [2]), max_rank=30)
    assert scores.cmc == (1.0,) * 30


def test_the_curve_has_at_least_20_entries() -> None:
    scores = evaluate_ranking([[1.0]], [[2.0]], label([1], [1]), label([1], [2]), max_rank=5)
    assert len(scores.cmc) == 20


def test_left_out_queries_are_counted_with_the_reason() -> None:
    query_labels = label([1, 2, 3, -1], [1, 1, 1, 1])
    scores = evaluate_ranking(np.zeros((4, 2)), np.zeros((2, 2)), query_labels, label([1, 2], [2, 1]))
    assert scores.queries == 1
    assert scores.queries_without_match == 3
    assert scores.left_out == {
        "person not in the gallery": 1,
        "person seen in the gallery only by the query's own camera": 1,
        "junk query (person id -1)": 1,
    }


def test_multi_query_averages_the_crops_of_a_person_in_a_camera() -> None:
    # The two crops of person 1 average to 0, which is nearest to its own crop; alone, each is nearest to person 2's.
    query = np.array([[-4.0], [4.0], [9.0]])
    gallery = np.array([[0.0], [-4.0], [4.0], [9.0]])
    query_labels, gallery_labels = label([1, 1, 2], [1, 1, 1]), label([1, 2, 2, 2], [2, 2, 2, 2])
    single = evaluate_ranking(query, gallery, query_labels, gallery_labels)
    multi = evaluate_ranking(query, gallery, query_labels, gallery_labels, protocol="multi-query")
    assert single.rank1 == pytest.approx(1 / 3)
    assert (multi.rank1, multi.queries) == (1.0, 2)


def test_multi_query_reports_junk_queries() -> None:
    labels = label([1, -1], [1, 1])
    scores = evaluate_ranking(np.zeros((2, 1)), np.zeros((1, 1)), labels, label([1], [2]), protocol="multi-query")
    assert scores.left_out == {"junk query (person id -1)": 1}


def test_single_gallery_shot_searches_one_crop_an_identity() -> None:
    # Person 1's crop is nearest in every draw; person 2 has a near crop and a far one, drawn about equally often.
    query, gallery = np.array([[0.0], [10.0]]), np.array([[0.0], [10.0], [99.0], [6.0], [0.0]])
    query_labels, gallery_labels = label([1, 2], [1, 1]), label([1, 2, 2, 3, 2], [2, 2, 2, 2, 1])
    scores = evaluate_ranking(
        query, gallery, query_labels, gallery_labels, protocol="single-gallery-shot", repeats=400, seed=1
    )
    near = 2 * scores.rank1 - 1
    assert near == pytest.approx(0.5, abs=0.1)
    # A far crop is last of three.
    assert scores.mean_average_precision == pytest.approx((1 + near + (1 - near) / 3) / 2)
    assert (scores.gallery, scores.repeats, scores.queries) == (3, 400, 2)
    assert scores.standard_deviations["rank1"] == pytest.approx(math.sqrt(near * (1 - near) * 400 / 399) / 2)
    assert scores.camera_pairs == ()


def test_single_gallery_shot_with_one_crop_an_identity_is_single_query() -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((30, 8)), rng.standard_normal((30, 8))
    labels = label(np.arange(30), np.ones(30, dtype=int)), label(np.arange(30)[::-1].copy(), np.full(30, 2))
    single = evaluate_ranking(query, gallery, *labels)
    shot = evaluate_ranking(query, gallery, *labels, protocol="single-gallery-shot", repeats=3)
    assert close(single, shot)
    assert set(shot.standard_deviations.values()) == {0.0}


def test_single_gallery_shot_without_cameras_skips_nothing() -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((10, 4)), rng.standard_normal((40, 4))
    people = np.arange(10), rng.integers(0, 10, 40)
    blind = evaluate_ranking(query, gallery, label(people[0]), label(people[1]), protocol="single-gallery-shot")
    apart = label(people[0], [1] * 10), label(people[1], [2] * 40)  # no crop is the query's own camera's
    assert blind == evaluate_ranking(query, gallery, *apart, protocol="single-gallery-shot")
    assert blind.gallery == len(np.unique(people[1]))


def test_the_seed_decides_the_draws_and_the_intervals() -> None:
    case = real_case("euclidean")

    def run(seed: int) -> RankingScores:
        return evaluate_ranking(*case[:4], protocol="single-gallery-shot", repeats=2, seed=seed)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_intervals_hold_the_scores() -> None:
    scores = evaluate_ranking(*real_case("euclidean")[:4])
    for name, (low, high) in scores.intervals.items():
        assert 0 <= low <= getattr(scores, name) <= high <= 1
    assert list(scores.intervals)[-1] == "mean_inverse_negative_penalty"


def test_integers_are_embeddings_too() -> None:
    case = real_case("euclidean")
    whole = case._replace(query=np.round(case.query), gallery=np.round(case.gallery))
    integers = whole._replace(query=whole.query.astype(np.int8), gallery=whole.gallery.astype(np.int8))
    assert evaluate(whole) == evaluate(integers)


def test_no_cameras_ignores_camera_ids_and_camera_pairs() -> None:
    case = real_case("euclidean")
    without = case._replace(
        query_labels=Labels(case.query_labels.person_ids), gallery_labels=Labels(case.gallery_labels.person_ids)
    )
    with_cameras = evaluate_ranking(*case[:4], protocol="no-cameras", camera_pairs=True)
    assert with_cameras == evaluate_ranking(*without[:4], protocol="no-cameras")
    assert with_cameras.camera_pairs == ()


def test_scores_of_queries_do_not_mix() -> None:
    # Ranks above 2**31 would, if query and rank shared too small an integer.
    scored = score_matches(np.array([0, 0, 1]), np.array([2**31 + 7, 1, 4]))
    assert scored.first_rank.tolist() == [1, 4]
    assert scored.inverse_negative_penalty == pytest.approx([2 / (2**31 + 7), 1 / 4])
