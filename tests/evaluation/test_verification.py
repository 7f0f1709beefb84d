from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnireid import (
    CalibrationOptions,
    RuntimeOptions,
    calibrate,
    load_dataset,
    load_embedder,
    people_to_calibrate,
)
from omnireid.data.capture_times import CaptureTimes
from omnireid.embedding.chunks import embed_crops
from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.errors import CalibrationError, LabelsError
from omnireid.evaluation.curves import LabelledDistances, adapt_calibration, fit_curve
from omnireid.evaluation.open_set import measure_open_set
from omnireid.evaluation.pair_scores import score_pairs
from omnireid.evaluation.pairs import KnownCrops, PairKind, draw_pairs
from omnireid.evaluation.reliability import balance_pairs, expected_calibration_error, measure_reliability
from omnireid.evaluation.verification import adapt, verify
from omnireid.types import Crops, Dataset, FloatArray, Split

MADE = Provenance("ab" * 32, "osnet_x0_25", {"height": 256}, "euclidean", "unknown", "0")


def people_table(people: int = 120, *, noise: float = 0.5, camera_shift: float = 0.3, seed: int = 0) -> EmbeddingTable:
    """Four crops a person by two cameras; each person is a point, and each crop lies near it."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), 4)
    cameras = np.tile([1, 1, 2, 2], people)
    points = rng.standard_normal((people, 8))[who]
    shifted = points + camera_shift * rng.standard_normal((people, 2, 8))[who, cameras - 1]
    embeddings = (shifted + noise * rng.standard_normal(points.shape)).astype(np.float32)
    names = tuple(
        Path(f"{person:04d}_c{camera}s1_{index:06d}_00.jpg")
        for index, (person, camera) in enumerate(zip(who, cameras, strict=True))
    )
    return EmbeddingTable(Crops(names, who, cameras), embeddings, MADE)


@pytest.mark.parametrize(
    "kind",
    [
        PairKind("any"),
        PairKind("same-camera"),
        PairKind("other-cameras"),
        PairKind("same-camera", 2.0, 10.0),
        PairKind("other-cameras", 10.0, None),
        PairKind("any", 0.0, 2.0),
    ],
)
def test_pairs_are_of_their_kind_and_different_ones_are_drawn_evenly(kind: PairKind) -> None:
    rng = np.random.default_rng(1)
    count = 300
    crops = KnownCrops(
        rng.integers(0, 40, count),
        rng.integers(1, 4, count),
        CaptureTimes(rng.integers(0, 2, count), rng.uniform(0, 30, count)),
    )
    pairs = draw_pairs(crops, kind, same_per_person=5, different=20_000, seed=0)
    assert crops.matches(kind, pairs.first, pairs.second).all()
    assert (pairs.is_same == (crops.person_ids[pairs.first] == crops.person_ids[pairs.second])).all()
    assert np.bincount(crops.person_ids[pairs.first[pairs.is_same]]).max() <= 5
    every = np.triu_indices(count, 1)
    possible = crops.matches(kind, *every) & (crops.person_ids[every[0]] != crops.person_ids[every[1]])
    drawn = np.sort(np.stack([pairs.first, pairs.second])[:, ~pairs.is_same], axis=0)
    assert len(np.unique(drawn[0] * count + drawn[1])) > 0.2 * min(possible.sum(), 20_000)
    seen = set((drawn[0] * count + drawn[1]).tolist())
    assert seen <= set((every[0] * count + every[1])[possible].tolist())


def test_pairs_that_do_not_exist_are_not_waited_for() -> None:
    crops = KnownCrops(np.zeros(6, dtype=np.int64), np.arange(6), None)
    pairs = draw_pairs(crops, PairKind("other-cameras"), same_per_person=100, different=50, seed=0)
    assert pairs.is_same.all()
    assert len(pairs) == 15
    assert not len(draw_pairs(crops, PairKind("same-camera"), same_per_person=9, different=9, seed=0))


def normal_pairs(count: int, seed: int = 0, *, shift: float = 2.0) -> LabelledDistances:
    """Distances from two normal distributions of width 1: the log likelihood ratio is a line."""
    rng = np.random.default_rng(seed)
    is_same = np.arange(2 * count) < count
    distances = rng.standard_normal(2 * count) + np.where(is_same, 5 - shift, 5)
    people = rng.integers(0, 60, 2 * count)
    return LabelledDistances(distances, is_same, people, np.where(is_same, people, (people + 1) % 60))


def test_a_fitted_curve_is_near_the_true_ratio() -> None:
    curve = fit_curve(normal_pairs(5_000), PairKind("any"))
    grid = np.linspace(2.5, 5.5, 13)
    truth = -2.0 * (grid - 4.0)
    assert curve.evaluate(grid) == pytest.approx(truth, abs=0.25)


def test_the_better_kind_of_curve_is_taken() -> None:
    assert fit_curve(normal_pairs(60), PairKind("any")).method == "logistic", "few pairs that a line fits"
    pairs = normal_pairs(5_000)
    bent = replace(pairs, distances=np.where(pairs.distances < 4, pairs.distances, pairs.distances**4))
    assert fit_curve(bent, PairKind("any")).method == "isotonic", "many pairs that no line fits"


def test_pairs_without_a_mistake_claim_no_more_than_their_number_can_show() -> None:
    is_same = np.arange(200) < 100
    people = np.arange(200) % 50
    pairs = LabelledDistances(
        np.where(is_same, 1.0, 9.0) + people / 100, is_same, people, np.where(is_same, people, (people + 1) % 50)
    )
    curve = fit_curve(pairs, PairKind("any"))
    assert max(map(abs, curve.log_likelihood_ratios)) <= np.log(2 * 100 + 1) + 1e-9


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (normal_pairs(10), "at least 20 pairs of one person.*found 10, 10"),
        (replace(normal_pairs(30), distances=np.full(60, 1.0)), "All distances are equal"),
        (replace(normal_pairs(30), first_person=np.zeros(60, int), second_person=np.zeros(60, int)), "3 people"),
    ],
)
def test_too_little_to_fit_is_refused(pairs: LabelledDistances, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit_curve(pairs, PairKind("any"))


def test_scores_are_those_of_every_pair_counted_one_by_one() -> None:
    pairs = normal_pairs(400)
    curve = fit_curve(normal_pairs(4000, seed=1), PairKind("any"))
    scores = score_pairs(pairs, curve, 0.5, samples=50)
    same, different = pairs.distances[pairs.is_same], pairs.distances[~pairs.is_same]
    assert not scores.true_accept_rates, "four pairs of two people are too few for a rate of 0.01"
    errors = [abs(np.mean(different <= level) - np.mean(same > level)) for level in pairs.distances]
    level = pairs.distances[int(np.argmin(errors))]
    assert scores.equal_error_rate.value == pytest.approx(np.mean(different <= level), abs=0.003)
    assert scores.equal_error_rate.low < scores.equal_error_rate.value < scores.equal_error_rate.high
    assert sum(scores.same_histogram) == pytest.approx(1)
    pairs = normal_pairs(2000)
    limit = np.sort(pairs.distances[~pairs.is_same])[20]  # 20 of 2,000 are nearer
    found = score_pairs(pairs, curve, 0.5, samples=20).true_accept_rates
    assert list(found) == [1e-2]
    assert found[1e-2].value == np.mean(pairs.distances[pairs.is_same] < limit)
    assert found[1e-2].low < found[1e-2].value < found[1e-2].high


def test_the_calibration_error_is_that_of_its_formula() -> None:
    probabilities = np.array([0.05, 0.05, 0.95, 0.95])
    is_same = np.array([False, True, True, True])
    bins = measure_reliability(probabilities, is_same, np.full(4, 0.25))
    assert [(one.probability, one.observed, one.weight) for one in bins] == [(0.05, 0.5, 0.5), (0.95, 1.0, 0.5)]
    assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert balance_pairs(is_same, 0.5).tolist() == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6])


def test_a_calibration_holds_on_people_it_has_not_seen() -> None:
    found = calibrate(people_table(300))
    by_name = {one.curve.name: one for one in found.scores}
    assert set(by_name) == {"any", "same-camera", "other-cameras"}
    assert all(one.calibration_error.value < 0.05 for one in by_name.values())
    assert by_name["same-camera"].equal_error_rate.value < by_name["other-cameras"].equal_error_rate.value
    assert found.people_fitted == found.people_held_out == 150
    assert found.calibration.held_out["people"] == 150
    text = found.table()
    assert "fitted on 150 people, measured on 150 others (1,200 crops, euclidean distance)" in text
    assert "same from probability 0.95, new below 0.1, ask between" in text


def test_the_seed_alone_decides() -> None:
    table = people_table(60)
    one, other = calibrate(table).json(), calibrate(table).json()
    assert one == other
    assert calibrate(table, seed=1).json() != one


def test_times_give_curves_of_their_own_where_there_are_enough_pairs() -> None:
    found = calibrate(people_table(240), CalibrationOptions(frame_rate=1))
    timed = {one.name for one in found.calibration.curves if one.least_gap_s is not None}
    assert timed == {"same-camera, 0 s to 5 s", "other-cameras, 0 s to 5 s"}
    assert {one.curve.name for one in found.scores} == {one.name for one in found.calibration.curves}
    assert found.notes == ("6 kinds of pairs have too few pairs or people for a curve of their own.",)


def moved(table: EmbeddingTable) -> EmbeddingTable:
    """The same weights on harder data."""
    return replace(table, embeddings=people_table(len(table) // 4, noise=1.2, camera_shift=1.0, seed=3).embeddings)


@pytest.mark.slow
def test_few_pairs_set_most_of_another_data_set_right() -> None:
    calibration = calibrate(people_table(240)).calibration
    harder = moved(people_table(200))
    here = verify(harder, calibration)
    assert here.people_fitted == 0
    assert here.calibration == calibration
    before, after = adapt(harder, calibration, 200)
    errors = [one.scores[0].calibration_error.value for one in (before, after)]
    assert errors[1] < 0.5 * errors[0]
    assert {curve.method for curve in after.calibration.curves} == {"adapted"}
    assert "adapted by 200 pairs" in after.calibration.data


def test_a_calibration_of_other_weights_is_refused_before_anything_is_measured() -> None:
    calibration = calibrate(people_table(60)).calibration
    other = replace(people_table(60), provenance=replace(MADE, weights_sha256="cd" * 32))
    for use in (lambda: verify(other, calibration), lambda: adapt(other, calibration, 100)):
        with pytest.raises(CalibrationError, match="for weights abababababab"):
            use()


def test_too_few_people_or_pairs_are_refused() -> None:
    with pytest.raises(LabelsError, match="needs person ids"):
        calibrate(EmbeddingTable(Crops((Path("a.jpg"),)), np.zeros((1, 2), dtype=np.float32), MADE))
    with pytest.raises(CalibrationError, match="at least 20 pairs of one person"):
        calibrate(people_table(3))
    with pytest.raises(CalibrationError, match=r"needs at least 20 pairs.*found 5 and 5"):
        adapt(people_table(60), calibrate(people_table(60)).calibration, 10)
    curve_of = calibrate(people_table(60)).calibration
    with pytest.raises(CalibrationError, match="found 3 and 0"):
        adapt_calibration(curve_of, np.zeros(3), np.ones(3, dtype=bool))


def test_strangers_are_found_as_often_as_the_rate_says() -> None:
    table = people_table(60, noise=0.01, camera_shift=0.01)
    labels = table.labels
    assert labels is not None
    crops = KnownCrops(labels.person_ids, labels.camera_ids, None)
    easy = measure_open_set(table.embeddings, crops, "euclidean")
    assert [(one.people, one.false_positive_rate) for one in easy] == [(10, 0.1), (10, 0.01), (30, 0.1), (30, 0.01)]
    assert all(one.false_negative_rate == 0 for one in easy), "everybody is much nearer to themselves"
    chance: FloatArray = np.random.default_rng(0).standard_normal(table.embeddings.shape).astype(np.float32)
    random = measure_open_set(chance, crops, "euclidean")
    assert all(one.false_negative_rate > 0.9 for one in random)
    assert not measure_open_set(table.embeddings[:40], crops.select(np.arange(40)), "euclidean"), (
        "ten people are too few"
    )


def test_distractors_and_training_people_are_left_out() -> None:
    query = Split((Path("q1.jpg"), Path("q2.jpg")), np.array([1, 2]), np.array([1, 1]))
    gallery = Split((Path("g0.jpg"), Path("g1.jpg"), Path("q2.jpg")), np.array([0, 1, 2]), np.array([2, 2, 1]))
    train = Split((Path("t7.jpg"),), np.array([7]), np.array([1]))
    dataset = Dataset("drawn", "market1501", Path(), train, query, gallery)
    crops = people_to_calibrate(dataset)
    assert [path.name for path in crops.paths] == ["q1.jpg", "q2.jpg", "g1.jpg"]
    assert crops.person_ids is not None
    assert crops.person_ids.tolist() == [1, 2, 1]
    with pytest.raises(LabelsError, match="No person of the query is in the gallery"):
        people_to_calibrate(replace(dataset, gallery=gallery.select([0])))


@pytest.mark.real
@pytest.mark.slow
def test_probabilities_hold_on_people_of_market_1501_who_were_held_out(shared: Path) -> None:
    crops = people_to_calibrate(load_dataset(shared / "data" / "Market-1501-v15.09.15"))
    embedder = load_embedder(options=RuntimeOptions(precision="fp32"))
    found = calibrate(embed_crops(embedder, crops), CalibrationOptions(frame_rate=25))
    errors = {one.curve.name: one.calibration_error.value for one in found.scores}
    assert max(errors[kind] for kind in ("any", "same-camera", "other-cameras")) <= 0.02
    assert len(errors) == 11, "one curve for each kind of pair"
