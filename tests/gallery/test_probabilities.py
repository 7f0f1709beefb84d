from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.gallery.tables import PROVENANCE, drawn_embeddings, filled, table_of
from tests.retrieval.calibrations import calibration_of, curve_through

from omnireid.errors import CalibrationError, DataError
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.schema import IndexFacts, write_facts
from omnireid.retrieval.calibration import Calibration, CalibrationCurve, Relation


def curve(relation: Relation, at_zero: float, least_gap_s: float | None = None) -> CalibrationCurve:
    """A log likelihood ratio that falls from `at_zero` at distance 0 to its negative at distance 4."""
    return curve_through({0.0: at_zero, 4.0: -at_zero}, relation, least_gap_s)


def calibration_for(weights_sha256: str, *curves: CalibrationCurve) -> Calibration:
    """Distance 0 speaks e² for one person and 4 as much against it; crops of one camera say nothing."""
    usual = (curve("any", 2.0), curve("same-camera", 0.0))
    return calibration_of(weights_sha256, *usual, *curves, preprocessing=PROVENANCE.preprocessing)


CALIBRATION = calibration_for(PROVENANCE.weights_sha256)
BY_TIME = calibration_for(PROVENANCE.weights_sha256, curve("any", 1.0, 3600.0))
NOON = "2026-03-01T12:00:00+00:00"


def test_a_calibrated_gallery_says_probabilities_and_verdicts(gallery: Gallery) -> None:
    with pytest.raises(CalibrationError, match="This calibration is for weights 0000"):
        gallery.set_calibration(calibration_for("0" * 64))
    gallery.set_calibration(CALIBRATION)
    again = Gallery.open(gallery.database.uri)
    query = table_of(2, seed=3)
    found = again.search(query, 30, prior=0.5)
    for row in range(2):
        for match in found[row]:
            ratio = 0.0 if match.sighting.camera == str(row) else 2 - match.distance
            assert match.probability == pytest.approx(1 / (1 + np.exp(-ratio)), abs=1e-6)
            assert match.verdict == CALIBRATION.verdicts([match.probability or 0.0])[0]
    assert found.json()["queries"][0]["matches"][0]["verdict"] == found[0][0].verdict
    assert "The probabilities begin with a prior of 0.5" in found.table()
    assert again.search(query, 1).prior == 0.1  # a half, shared among five people
    assert again.search_person("2", 3)[0][0].probability is None
    assert again.info().calibrated
    again.set_calibration(None)
    assert again.search(query, 1)[0][0].probability is None


def test_the_time_between_two_crops_chooses_the_curve_where_both_are_known(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 3, time=["2026-03-01T09:00:00+00:00", "2026-03-01T11:30:00+00:00", ""])
    gallery.set_calibration(BY_TIME)
    query = table_of(2, seed=3, time=[NOON, ""])
    by_number = {match.sighting.number: match for match in gallery.search(query, 3, prior=0.5)[0]}
    ratios = [1 - by_number[1].distance / 2, 2 - by_number[2].distance, 2 - by_number[3].distance]
    for number, ratio in enumerate(ratios, start=1):
        assert by_number[number].probability == pytest.approx(1 / (1 + np.exp(-ratio)), abs=1e-6)
    for match in gallery.search(query, 3, prior=0.5)[1]:
        ratio = 0.0 if match.sighting.camera == "1" else 2 - match.distance
        assert match.probability == pytest.approx(1 / (1 + np.exp(-ratio)), abs=1e-6)


def test_a_time_without_a_zone_is_refused_only_where_it_matters(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 3, time=[NOON] * 3)
    query = table_of(1, seed=3, time=["2026-03-01T15:00:00"])
    gallery.set_calibration(CALIBRATION)
    assert gallery.search(query, 1)[0][0].probability is not None
    gallery.set_calibration(BY_TIME)
    with pytest.raises(DataError, match="states no zone"):
        gallery.search(query, 1)
    at_once, later = (gallery.search(query, 1, timezone=zone)[0][0] for zone in ("Europe/Moscow", "UTC"))
    assert at_once.probability != later.probability


def test_a_camera_that_is_not_known_is_not_another_one(tmp_path: Path) -> None:
    """Nobody knows whether it is the query's, so the curve for any pair is taken."""
    gallery = Gallery.open(tmp_path / "g")
    table = table_of(4)
    gallery.add(replace(table, crops=replace(table.crops, camera_ids=None)))
    gallery.set_calibration(calibration_for(PROVENANCE.weights_sha256, curve("other-cameras", 9.0)))
    for match in gallery.search(table_of(1, seed=3), 4, prior=0.5)[0]:
        assert match.probability == pytest.approx(1 / (1 + np.exp(match.distance - 2)), abs=1e-6)


def test_the_prior_does_not_depend_on_what_an_index_finds(gallery: Gallery) -> None:
    gallery.set_calibration(CALIBRATION)
    write_facts(gallery.database, replace(gallery.facts, index=IndexFacts(256, 500, 0.99)))
    query = drawn_embeddings(1)
    found = gallery.search(query, 2)
    assert found.prior == 0.1  # a half, shared among five people, of whom two at most were found
    assert "an index, which gave 99.0 % of the true nearest ten" in found.table()
    gallery.assign([1], "anna")
    assert gallery.search(query, 2).prior == pytest.approx(0.5 / 6)
    assert gallery.search(query, 2, SightingFilter(cameras=("9",)))[0] == ()
