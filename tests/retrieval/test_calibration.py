from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnireid import Calibration, read_calibration, write_calibration
from omnireid.errors import CalibrationError, SettingError, ShapeError
from omnireid.retrieval.calibration import CalibrationCurve, to_probabilities
from omnireid.retrieval.decision import DecisionCosts

SHA = "ab" * 32
PREPROCESSING = {"height": 256, "width": 128, "mean": (0.5, 0.4, 0.3)}


def curve(relation: Any = "any", shift: float = 0.0, **changes: Any) -> CalibrationCurve:
    values: dict[str, Any] = {
        "relation": relation,
        "distances": (0.0, 0.5, 1.0),
        "log_likelihood_ratios": (4.0 + shift, shift, -4.0 + shift),
        "method": "isotonic",
        "same_pairs": 100,
        "different_pairs": 200,
        "people": 50,
    }
    return CalibrationCurve(**values | changes)


def calibration(*more: CalibrationCurve, **changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "weights_sha256": SHA,
        "model": "osnet_x0_25",
        "preprocessing": PREPROCESSING,
        "distance": "cosine",
        "curves": (curve(), *more),
        "data": "drawn",
        "held_out": {"people": 50.0},
    }
    return Calibration(**values | changes)


def test_a_probability_is_bayes_rule_of_ratio_and_prior() -> None:
    made = calibration()
    distances = np.array([[0.0, 0.25], [0.5, 1.0]])
    ratios = np.exp([[4.0, 2.0], [0.0, -4.0]])
    assert made.probabilities(distances) == pytest.approx(ratios / (ratios + 1))
    assert made.probabilities(distances, prior=0.01) == pytest.approx(ratios / (ratios + 99))
    assert made.probabilities([0.5], prior=0.2).tolist() == pytest.approx([0.2])


def test_distances_beyond_the_curve_claim_no_more_than_its_ends_and_no_crop_is_nobody() -> None:
    made = calibration()
    assert made.log_likelihood_ratios([-1.0, 3.0]).tolist() == [4.0, -4.0]
    assert made.probabilities([np.inf]).tolist() == [0.0]


def test_a_pair_is_read_on_the_narrowest_curve_that_fits_what_is_known() -> None:
    made = calibration(
        curve("same-camera", 1.0),
        curve("other-cameras", 2.0),
        curve("same-camera", 3.0, least_gap_s=0.0, gap_below_s=5.0),
        curve("other-cameras", 4.0, least_gap_s=5.0, gap_below_s=None),
    )

    def shift(same_camera: bool | None, gap: float | None) -> float:
        cameras = None if same_camera is None else [same_camera]
        found = made.log_likelihood_ratios([0.5], same_camera=cameras, gap_s=None if gap is None else [gap])
        return float(found[0])

    cases = [(None, None, 0), (True, None, 1), (False, None, 2), (True, 4.9, 3), (True, -4.9, 3), (True, 5.0, 1)]
    cases += [(False, 5.0, 4), (False, 4.9, 2), (False, float("nan"), 2), (None, 3.0, 0)]
    assert [shift(camera, gap) for camera, gap, _ in cases] == [expected for *_, expected in cases]


def test_verdicts_follow_from_costs() -> None:
    made = calibration(costs=DecisionCosts(false_match_cost=10, missed_match_cost=5, question_cost=1))
    assert made.thresholds == (0.2, 0.9)
    assert made.verdicts([0.1, 0.2, 0.5, 0.9, 1.0]).tolist() == ["new", "ask", "ask", "same", "same"]
    dear = DecisionCosts(false_match_cost=3, missed_match_cost=1, question_cost=1)
    assert dear.thresholds == (0.75, 0.75), "nobody is asked where a question costs more than it saves"
    assert replace(made, costs=dear).verdicts([0.74, 0.75]).tolist() == ["new", "same"]


@pytest.mark.parametrize("probability", [0.03, 0.2, 0.5, 0.77, 0.99])
def test_no_decision_has_a_smaller_expected_cost(probability: float) -> None:
    costs = DecisionCosts()
    expected = {
        "same": (1 - probability) * costs.false_match_cost,
        "ask": costs.question_cost,
        "new": probability * costs.missed_match_cost,
    }
    assert calibration().verdicts([probability]).tolist() == [min(expected, key=lambda name: expected[name])]


def test_a_curve_knows_the_distance_of_a_ratio() -> None:
    one = curve()
    assert one.distance_at(2.0) == pytest.approx(0.25)
    assert one.distance_at(4.1) is None
    assert one.distance_at(-5.0) == float("inf")
    flat = curve(log_likelihood_ratios=(1.0, 1.0, -1.0))
    assert flat.distance_at(1.0) == pytest.approx(0.5)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    made = calibration(curve("same-camera", 1.0, least_gap_s=60.0), prior=0.02)
    write_calibration(made, tmp_path / "c.json")
    read = read_calibration(tmp_path / "c.json")
    assert read == made
    record = json.loads((tmp_path / "c.json").read_text())
    assert (record["new_below"], record["same_from"]) == made.thresholds, "a reader of the file needs no Python"
    made.check_weights(SHA, PREPROCESSING, "cosine")
    read.check_weights(SHA, {**PREPROCESSING, "mean": [0.5, 0.4, 0.3]}, "cosine")


@pytest.mark.parametrize(
    ("used", "message"),
    [
        (("cd" * 32, PREPROCESSING, "cosine"), "for weights abababababab.* by cdcdcdcdcdcd"),
        ((SHA, {**PREPROCESSING, "height": 128}, "cosine"), "another preprocessing"),
        ((SHA, PREPROCESSING, "euclidean"), "for cosine distance, and these are euclidean"),
    ],
)
def test_a_calibration_of_something_else_is_refused(used: tuple[str, dict[str, Any], str], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibration().check_weights(*used)


def change(path: tuple[str | int, ...], value: object) -> str:
    record: Any = json.loads(json.dumps(calibration().json()))
    place = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no whole JSON file"),
        ("[]", "is no calibration"),
        ('{"kind": "something"}', "is no calibration"),
        (change(("format_version",), 99), "newer omnireid"),
        (change(("curves",), []), "needs a first curve for any pair"),
        (change(("curves", 0, "relation"), "some-cameras"), "A curve is for"),
        (change(("curves", 0, "distances"), [0.0, 1.0, 1.0]), "rising distances"),
        (change(("curves", 0, "log_likelihood_ratios"), [1.0, 2.0, 0.0]), "never rise"),
        (change(("curves", 0, "log_likelihood_ratios"), [1.0, None, 0.0]), "finite ratios"),
        (change(("curves", 0, "distances"), 3), "cannot be used"),
        (change(("prior",), 1.0), "prior must be"),
        (change(("prior",), "half"), "prior must be"),
        (change(("distance",), "manhattan"), "no distance 'manhattan'"),
        (change(("weights_sha256",), "short"), "64 digits"),
        (change(("weights_sha256",), None), "cannot be used"),
        (change(("costs", "question_cost"), -1), "question_cost must be a positive number"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "damaged.json"
    file.write_text(text)
    with pytest.raises(CalibrationError, match=message) as raised:
        read_calibration(file)
    assert "damaged.json" in str(raised.value)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.json", "binary.json"):
        with pytest.raises(CalibrationError, match=rf"{name} cannot be read .*omnireid calibrate"):
            read_calibration(tmp_path / name)


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"same_camera must have one .* shape \(2,\); got \(1,\)"):
        calibration().probabilities([0.1, 0.2], same_camera=[True])
    for prior in (0.0, 1.0, float("nan")):
        with pytest.raises(SettingError, match="prior must be a probability"):
            calibration().probabilities([0.1], prior=prior)
    with pytest.raises(CalibrationError, match="each kind of pair once"):
        calibration(curve())


def test_ratios_of_any_size_give_probabilities_without_a_warning() -> None:
    assert to_probabilities([-2000.0, 0.0, 2000.0], 0.5).tolist() == [0.0, 0.5, 1.0]
