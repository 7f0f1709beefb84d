from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.embedding.colours import colour_embedder

from omnireid.data.datasets import load_dataset, load_splits
from omnireid.errors import DataError, ImageError, LabelsError, SettingError
from omnireid.evaluation.embedder_scores import evaluate_embedder
from omnireid.evaluation.evaluated_datasets import EvaluatedDataset, average_datasets, evaluate_datasets
from omnireid.evaluation.scores import SCORE_NAMES, RankingScores
from omnireid.images.decode import RgbArray
from omnireid.retrieval.options import RankingOptions
from omnireid.types import Dataset, FloatArray

EMBEDDER = colour_embedder()


def colour_crops(root: Path, *, cameras: bool, seed: int, people: int = 12) -> Path:
    """Crops of one colour, near the colour of their person, in query/ and gallery/: three to find for each query."""
    rng = np.random.default_rng(seed)
    for person in range(people):
        colour = rng.integers(60, 190, 3)
        for number, part in enumerate(["query", "gallery", "gallery", "gallery"]):
            folder = root / part / f"p{person}" / (f"c{number}" if cameras else "")
            folder.mkdir(parents=True, exist_ok=True)
            pixel = np.clip(colour + rng.integers(-45, 45, 3), 0, 255).astype(np.uint8)
            Image.fromarray(np.broadcast_to(pixel, (8, 4, 3)).copy()).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data with cameras, and data without."""
    folder = tmp_path_factory.mktemp("sets")
    return colour_crops(folder / "station", cameras=True, seed=1), colour_crops(folder / "phone", cameras=False, seed=2)


@pytest.fixture
def groups(roots: tuple[Path, Path]) -> list[list[Dataset]]:
    return [load_splits(root) for root in roots]


def test_each_data_set_is_scored_as_alone_and_their_mean_weighs_them_equally(groups: list[list[Dataset]]) -> None:
    found = evaluate_datasets(EMBEDDER, groups)
    station, phone = (one.evaluated.scores for one in found.datasets if one.evaluated is not None)
    assert station == evaluate_embedder(EMBEDDER, groups[0]).scores
    one_to_find = RankingOptions(protocol="single-gallery-shot")
    assert phone == evaluate_embedder(EMBEDDER, groups[1], one_to_find).scores
    assert found.mean is not None
    for name in SCORE_NAMES:
        assert found.mean.scores[name] == pytest.approx(fmean([getattr(station, name), getattr(phone, name)]))
        low, high = found.mean.intervals[name]
        assert low <= found.mean.scores[name] <= high
    assert found.failed == ()


def test_without_cameras_one_crop_a_person_is_to_be_found(groups: list[list[Dataset]]) -> None:
    found = evaluate_datasets(EMBEDDER, groups[1:]).datasets[0].evaluated
    alone = evaluate_embedder(EMBEDDER, groups[1]).scores
    assert found is not None
    assert (found.scores.protocol, found.scores.gallery, found.scores.repeats) == ("single-gallery-shot", 12, 10)
    assert (alone.protocol, alone.gallery) == ("no-cameras", 36)
    assert found.scores.rank1 != alone.rank1


def test_a_protocol_that_is_asked_for_holds_for_all(groups: list[list[Dataset]]) -> None:
    found = evaluate_datasets(EMBEDDER, groups, RankingOptions(protocol="no-cameras"))
    assert [one.evaluated.scores.protocol for one in found.datasets if one.evaluated] == ["no-cameras"] * 2
    assert found.datasets[1].evaluated is not None
    assert found.datasets[1].evaluated.scores == evaluate_embedder(EMBEDDER, groups[1]).scores


def test_the_table_has_a_row_for_each_and_the_mean_last(groups: list[list[Dataset]]) -> None:
    found = evaluate_datasets(EMBEDDER, groups, RankingOptions(distance="cosine"))
    title, _, header, station, phone, mean, _, *remarks = found.table().splitlines()
    assert title == "distance cosine; %, with 95 % intervals"
    assert header.split() == ["data", "set", "protocol", "queries", "gallery", "rank-1", "rank-5", "mAP", "mINP"]
    assert station.split()[:4] == ["station", "single-query", "12", "36"]
    assert phone.split()[:4] == ["phone", "single-gallery-shot", "12", "12"]
    assert found.mean is not None
    low, high = found.mean.intervals["rank1"]
    assert mean.split()[:3] == [
        "mean",
        f"{100 * found.mean.scores['rank1']:.1f}",
        f"({100 * low:.1f}–{100 * high:.1f})",
    ]
    assert remarks == [
        "phone: no cameras are known, so one crop a person was to be found, drawn at random; 10 draws were averaged"
    ]
    assert len({len(line) for line in (header, station, phone, mean)}) == 1


def test_the_json_holds_all_of_it(groups: list[list[Dataset]], roots: tuple[Path, Path]) -> None:
    found = evaluate_datasets(EMBEDDER, groups)
    record = json.loads(json.dumps(found.json()))
    assert [(one["dataset"], one["layout"], one["root"]) for one in record["datasets"]] == [
        ("station", "folder", str(roots[0])),
        ("phone", "folder", str(roots[1])),
    ]
    assert found.datasets[0].evaluated is not None
    assert found.mean is not None
    assert record["datasets"][0].items() >= found.datasets[0].evaluated.json().items()
    assert record["mean"]["rank1"] == found.mean.scores["rank1"]
    assert record["mean"]["intervals"]["rank20"] == list(found.mean.intervals["rank20"])


def test_splits_of_a_data_set_count_as_one_row(groups: list[list[Dataset]]) -> None:
    other = replace(groups[0][0], query=groups[0][0].query.select(range(6)))
    found = evaluate_datasets(EMBEDDER, [[groups[0][0], other], groups[1]])
    assert len(found.datasets) == 2
    assert "station: averaged over 2 splits, whose queries and gallery crops are counted together" in found.table()


def test_a_data_set_that_fails_leaves_the_others_their_scores(roots: tuple[Path, Path], tmp_path: Path) -> None:
    broken = colour_crops(tmp_path / "broken", cameras=True, seed=3, people=4)
    crop = broken / "gallery" / "p1" / "c2" / "2.png"
    crop.write_bytes(crop.read_bytes()[:30])
    groups = [load_splits(broken), load_splits(roots[0])]
    seen: list[EvaluatedDataset] = []
    found = evaluate_datasets(EMBEDDER, groups, on_result=seen.append)
    assert [one.name for one in seen] == ["broken", "station"]
    assert [one.name for one in found.failed] == ["broken"]
    assert isinstance(found.failed[0].error, ImageError)
    assert found.datasets[1].evaluated is not None
    assert found.datasets[1].evaluated.scores == evaluate_embedder(EMBEDDER, groups[1]).scores
    assert found.mean is None
    assert found.json()["mean"] is None
    assert str(crop) in found.json()["datasets"][0]["error"]
    table = found.table()
    assert "broken    not scored" in table
    assert f"broken: not scored: {found.failed[0].error}" in table
    assert table.endswith("No mean: 1 of 2 data sets could not be scored.")
    kept = evaluate_datasets(EMBEDDER, groups, skip_unreadable=True)
    assert kept.mean is not None
    assert f"broken: 1 unreadable crops left out (the first: {crop})" in kept.table()


def never(_pixels: RgbArray) -> FloatArray:
    raise AssertionError("embedded")


@pytest.mark.parametrize(
    ("ranking", "error", "message"),
    [
        (
            {"protocol": "single-query"},
            LabelsError,
            "^phone: Protocol single-query skips crops seen by",
        ),
        ({"rerank": True}, SettingError, '^phone: Re-ranking looks at .* or "no-cameras" for data without cameras'),
    ],
)
def test_what_cannot_be_scored_is_seen_before_anything_is_embedded(
    groups: list[list[Dataset]], ranking: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate_datasets(colour_embedder(run=never), groups, RankingOptions(**ranking))


def test_a_data_set_given_twice_is_refused_before_anything_is_embedded(roots: tuple[Path, Path]) -> None:
    again = load_dataset(roots[0].parent / "phone" / ".." / "station")
    with pytest.raises(DataError, match="was given twice: .* its scores would count twice in the mean"):
        evaluate_datasets(colour_embedder(run=never), [load_splits(roots[0]), [again]])


def test_nothing_to_score_and_data_sets_that_are_no_lists(groups: list[list[Dataset]]) -> None:
    for wrong, found in (([], "none"), ([groups[0], []], "list, list"), ([groups[0][0]], "Dataset")):
        with pytest.raises(DataError, match=rf"each as a list of its splits, .*; got {found}\."):
            evaluate_datasets(EMBEDDER, wrong)  # type: ignore[arg-type]


def test_a_warning_names_its_data_set(groups: list[list[Dataset]]) -> None:
    itself = replace(groups[1][0], gallery=groups[1][0].query)
    found = evaluate_datasets(EMBEDDER, [groups[0], [itself]])
    assert found.table().startswith("WARNING: phone: THE QUERIES ARE IN THE GALLERY")


def scores(value: float, low: float, high: float) -> RankingScores:
    bounds = dict.fromkeys(SCORE_NAMES, (low, high))
    return RankingScores((value,) * 20, value, value, 9, 0, 9, "cosine", "single-query", intervals=bounds)


def test_the_interval_of_a_mean_is_that_of_independent_data_sets() -> None:
    mean = average_datasets([scores(0.5, 0.47, 0.56), scores(0.7, 0.66, 0.78)])
    assert mean.scores["rank1"] == pytest.approx(0.6)
    assert mean.intervals["rank1"] == pytest.approx((0.6 - 0.05 / 2, 0.6 + 0.1 / 2))
    assert average_datasets([scores(0.5, 0.4, 0.7)]).intervals["rank1"] == pytest.approx((0.4, 0.7))
    assert average_datasets([replace(scores(0.5, 0.4, 0.7), intervals={})]).intervals == {}
