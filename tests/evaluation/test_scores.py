from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from omnireid.errors import OmnireidError
from omnireid.evaluation.scores import SCORE_NAMES, CameraPair, RankingScores, average_scores

SCORES = RankingScores(
    cmc=(0.5, 0.6, 0.6, 0.6, 0.7, *(0.8,) * 5, *(0.9,) * 9, 0.95),
    mean_average_precision=0.4,
    mean_inverse_negative_penalty=0.2,
    queries=1000,
    queries_without_match=3,
    gallery=15913,
    distance="cosine",
    protocol="single-query",
    left_out={"person not in the gallery": 3},
    intervals=dict.fromkeys(SCORE_NAMES, (0.1, 0.9)),
    camera_pairs=(CameraPair(1, 2, 10, 0.75, 0.5), CameraPair(2, 1, 20, 1.0, 0.9)),
)


def test_ranks_are_read_off_the_curve() -> None:
    assert (SCORES.rank1, SCORES.rank5, SCORES.rank10, SCORES.rank20) == (0.5, 0.7, 0.8, 0.95)


def test_the_table() -> None:
    assert SCORES.table() == "\n".join(
        [
            "protocol single-query, distance cosine",
            "1,000 queries counted, 15,913 gallery crops",
            "3 queries left out: person not in the gallery",
            "",
            "              %    95 % interval",
            "rank-1    50.00    10.00 –  90.00",
            "rank-5    70.00    10.00 –  90.00",
            "rank-10   80.00    10.00 –  90.00",
            "rank-20   95.00    10.00 –  90.00",
            "mAP       40.00    10.00 –  90.00",
            "mINP      20.00    10.00 –  90.00",
            "",
            "rank-1/mAP by query camera (down) and gallery camera (across)",
            "                   1           2",
            "1                  –   75.0/50.0",
            "2         100.0/90.0           –",
        ]
    )


def test_many_cameras_show_the_extremes() -> None:
    pairs = tuple(CameraPair(1, camera, 5, camera / 20, 0.5) for camera in range(2, 16))
    table = replace(SCORES, camera_pairs=pairs).table()
    assert "14 camera pairs (all of them are in the JSON)" in table
    lines = [line.split() for line in table.splitlines()]
    assert ["1", "2", "5", "10.0", "50.0"] in lines
    assert ["1", "15", "5", "75.0", "50.0"] in lines
    assert ["1", "8", "5", "40.0", "50.0"] not in lines


def test_the_json_holds_fractions_under_the_promised_names() -> None:
    values = json.loads(json.dumps(SCORES.json()))
    assert list(values)[:6] == [
        "rank1",
        "rank5",
        "rank10",
        "rank20",
        "mean_average_precision",
        "mean_inverse_negative_penalty",
    ]
    assert values["rank1"] == 0.5
    assert values["intervals"]["rank20"] == [0.1, 0.9]
    assert len(values["cmc"]) == 20
    assert {key: values[key] for key in ("queries", "queries_without_match", "gallery", "distance", "protocol")} == {
        "queries": 1000,
        "queries_without_match": 3,
        "gallery": 15913,
        "distance": "cosine",
        "protocol": "single-query",
    }
    assert values["left_out"] == {"person not in the gallery": 3}
    assert values["camera_pairs"][0] == {
        "query_camera": 1,
        "gallery_camera": 2,
        "queries": 10,
        "rank1": 0.75,
        "mean_average_precision": 0.5,
    }


def test_splits_are_averaged() -> None:
    other = replace(
        SCORES,
        cmc=(0.7,) * 20,
        mean_average_precision=0.6,
        queries=500,
        left_out={"junk query (person id -1)": 1},
        intervals=dict.fromkeys(SCORE_NAMES, (0.3, 0.7)),
        camera_pairs=(CameraPair(1, 2, 30, 0.25, 0.1),),
    )
    average = average_scores([SCORES, other])
    assert average.rank1 == pytest.approx(0.6)
    assert average.mean_average_precision == pytest.approx(0.5)
    assert (average.queries, average.gallery, average.queries_without_match, average.splits) == (1500, 31826, 6, 2)
    assert average.left_out == {"person not in the gallery": 3, "junk query (person id -1)": 1}
    assert average.standard_deviations["rank1"] == pytest.approx(0.2 / math.sqrt(2))
    assert average.intervals["rank1"] == pytest.approx((0.2, 0.8))
    assert average.camera_pairs[0].queries == 40
    assert average.camera_pairs[0].rank1 == pytest.approx((10 * 0.75 + 30 * 0.25) / 40)
    assert average.camera_pairs[1] == SCORES.camera_pairs[1]
    assert "± between splits" in average.table()
    assert "1,500 queries counted, 31,826 gallery crops, in 2 splits together" in average.table()


def test_one_split_averages_to_itself() -> None:
    assert average_scores([SCORES]) == SCORES


def test_repeats_are_named_in_the_table() -> None:
    scores = replace(SCORES, repeats=10, standard_deviations=dict.fromkeys(SCORE_NAMES, 0.012))
    assert "10 random galleries averaged" in scores.table()
    assert "rank-1    50.00    10.00 –  90.00    1.20" in scores.table()
    assert "± between repeats" in scores.table()


def test_nothing_to_average() -> None:
    with pytest.raises(OmnireidError, match="no scores to average"):
        average_scores([])


def test_different_settings_are_not_averaged() -> None:
    with pytest.raises(OmnireidError, match="got cosine/single-query/20, euclidean/single-query/20"):
        average_scores([SCORES, replace(SCORES, distance="euclidean")])
