from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data import fabrication

from omnireid import create_model, load_embedder
from omnireid.data.datasets import load_dataset
from omnireid.data.training_data import TrainingData, load_training_data
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import DataError, DataNotFoundError, NoTrueMatchError, RecipeError
from omnireid.evaluation.embedder_scores import evaluate_embedder
from omnireid.evaluation.scores import RankingScores
from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.retrieval.options import RankingOptions
from omnireid.synthetic.dataset import synthesize
from omnireid.terms import Distance
from omnireid.training import assessment
from omnireid.training.assessment import (
    Validation,
    assess,
    hold_out,
    load_validation,
    load_validations,
    refuse_learned,
)
from omnireid.training.distributed import Ranks
from omnireid.weights.artefact import WeightsMetadata, write_artefact

SIZE = Preprocessing(48, 24)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(
        tmp_path_factory.mktemp("drawn") / "people", identities=8, cameras=3, per_camera=2, height=48, workers=1
    )


@pytest.fixture(scope="module")
def network() -> Backbone:
    """Untrained, but for the running statistics of one batch, so that its embeddings tell crops apart."""
    network = create_model("osnet_x0_25")
    with torch.no_grad():
        network(torch.randn(16, 3, 48, 24, generator=torch.Generator().manual_seed(0)))
    return network


def pixels_of(validation: Validation) -> npt.NDArray[np.uint8]:
    return np.stack([SIZE.resize(path) for path in validation.paths])


def training_data(counts: list[list[int]], *, cameras: bool = True) -> TrainingData:
    """`counts[identity][camera]` crops of each, mixed up."""
    rows = [
        (identity, camera, number)
        for identity, by_camera in enumerate(counts)
        for camera, count in enumerate(by_camera)
        for number in range(count)
    ]
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    return TrainingData(
        tuple(Path("crops") / f"{identity}_{camera}_{number}.jpg" for identity, camera, number in rows),
        np.array([identity for identity, *_ in rows], dtype=np.int64),
        np.array([camera for _, camera, _ in rows], dtype=np.int64) if cameras else None,
        ("people",),
        "CC0",
        (Path("crops"),),
    )


def person_of(path: Path) -> int:
    return int(path.stem.split("_")[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 15), st.floats(0.01, 0.8), st.integers(0, 2**32), st.booleans())
def test_held_out_identities_are_scored_on_and_not_learned_from(
    identities: int, fraction: float, seed: int, cameras: bool
) -> None:
    data = training_data([[2, 1 + identity % 2, 1] for identity in range(identities)], cameras=cameras)
    if identities - int(np.ceil(fraction * identities)) < 2:
        with pytest.raises(RecipeError, match="identities to learn from"):
            hold_out(data, fraction, seed=seed)
        return
    rest, validation = hold_out(data, fraction, seed=seed)
    held = {person_of(path) for path in validation.paths}
    kept = {person_of(path) for path in rest.paths}
    assert not held & kept
    assert len(held) == int(np.ceil(fraction * identities))
    assert Counter([*rest.paths, *validation.paths]) == Counter(data.paths)
    assert rest.identity_count == len(kept)
    numbers = [sorted(kept).index(person_of(path)) for path in rest.paths]
    assert rest.identities.tolist() == numbers
    assert rest.identities.dtype == np.int64
    assert (rest.names, rest.licence, rest.roots) == (data.names, data.licence, data.roots)
    for split in validation.searches[0]:
        assert split.person_ids.tolist() == [person_of(path) for path in split.paths]


def test_crops_keep_their_order_and_cameras() -> None:
    data = training_data([[2, 2, 1]] * 6)
    rest, validation = hold_out(data, 0.5, seed=3)
    [(query, gallery)] = validation.searches
    left = [path for path in data.paths if path in set(rest.paths)]
    assert list(rest.paths) == left
    for paths, cameras in (
        (rest.paths, rest.cameras),
        (query.paths, query.camera_ids),
        (gallery.paths, gallery.camera_ids),
    ):
        assert cameras is not None
        assert cameras.tolist() == [int(path.stem.split("_")[1]) for path in paths]


def test_one_query_a_camera_of_each_identity_held_out() -> None:
    _, validation = hold_out(training_data([[2, 2, 2]] * 6), 0.5, seed=3)
    assert (validation.name, validation.protocol) == ("held-out", "single-query")
    [(query, gallery)] = validation.searches
    cameras = defaultdict(list)
    for path in query.paths:
        person, camera, _ = path.stem.split("_")
        cameras[person].append(camera)
    assert len(cameras) == 3
    assert all(sorted(seen) == ["0", "1", "2"] for seen in cameras.values())
    assert validation.paths == (*query.paths, *gallery.paths)


def test_without_cameras_one_query_an_identity() -> None:
    rest, validation = hold_out(training_data([[2, 2]] * 6, cameras=False), 0.5, seed=3)
    assert rest.cameras is None
    [(query, _)] = validation.searches
    assert (validation.protocol, query.camera_ids, len(query)) == ("no-cameras", None, 3)


def test_the_draw_depends_on_the_seed_alone() -> None:
    data = training_data([[2, 2]] * 12)
    before = data.identities.copy()

    def held(seed: int) -> tuple[tuple[Path, ...], tuple[Path, ...], list[int]]:
        rest, validation = hold_out(data, 0.25, seed=seed)
        return rest.paths, validation.paths, rest.identities.tolist()

    assert held(4) == held(4)
    assert len({held(seed)[1] for seed in range(6)}) > 1
    assert np.array_equal(data.identities, before)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_no_such_fraction(fraction: float) -> None:
    with pytest.raises(RecipeError, match=rf"^--hold-out must lie between 0 and 1; got {fraction}\.$"):
        hold_out(training_data([[2, 2]] * 4), fraction, seed=0)


def test_two_identities_must_be_left() -> None:
    data = training_data([[2, 2]] * 4)
    assert hold_out(data, 0.5, seed=0)[0].identity_count == 2
    with pytest.raises(RecipeError, match=r"^--hold-out 0\.51 leaves 1 identities to learn from\.$"):
        hold_out(data, 0.51, seed=0)


def test_somebody_held_out_must_be_searchable() -> None:
    with pytest.raises(DataError, match="None of the 2 identities was seen by two cameras"):
        hold_out(training_data([[3]] * 5), 0.4, seed=0)
    with pytest.raises(DataError, match="None of the 2 identities has two crops"):
        hold_out(training_data([[1]] * 5, cameras=False), 0.4, seed=0)


def test_query_and_gallery_of_a_data_set(people: Path) -> None:
    validation = load_validation(people, layout="auto", seed=0)
    dataset = load_dataset(people)
    assert validation is not None
    assert (validation.name, validation.protocol) == (dataset.name, dataset.protocol)
    assert validation.paths == (*dataset.query.paths, *dataset.gallery.paths)
    assert len(validation.searches[0][0]) == 4 * 3


@pytest.mark.parametrize("empty", ["query", "gallery"])
def test_a_data_set_with_nothing_to_score_on(tmp_path: Path, empty: str) -> None:
    """Its only crop there is junk, which is dropped."""
    rows = [(f"{person}_{camera}.jpg", person, camera, "train") for person in (1, 2) for camera in (1, 2)]
    rows += [(f"{role}.jpg", -1 if role == empty else 3, 1, role) for role in ("query", "gallery")]
    fabrication.touch(tmp_path, [row[0] for row in rows])
    fabrication.write_csv(tmp_path / "manifest.csv", ("path", "person_id", "camera_id", "split"), rows)
    dataset = load_dataset(tmp_path)
    assert {len(dataset.query), len(dataset.gallery)} == {0, 1}
    assert load_validation(tmp_path, layout="auto", seed=0) is None


def test_other_data_is_scored_on_all_its_splits_and_the_data_that_is_learned_from_on_that_one(tmp_path: Path) -> None:
    halves = [((1, 2), (3, 4)), ((3, 4), (1, 2))] * 5
    viper = fabrication.viper(tmp_path / "VIPeR", (0, 3, 5, 8), halves)
    market = load_training_data([fabrication.market(tmp_path / "market")])
    [validation] = load_validations([viper], market, seed=0)
    assert len(validation.searches) == 20
    assert len(validation.paths) == 8  # each crop is embedded once
    own = load_training_data([viper], split=3)
    [validation] = load_validations([viper], own, split=3, seed=0)
    assert len(validation.searches) == 1
    assert len(validation.paths) == 4
    refuse_learned(validation.name, validation.paths, own)
    everything = load_training_data([viper], split=3, use_test_identities=True)
    for path in everything.paths:
        path.write_text(path.name)
    with pytest.raises(DataError, match="4 of 4 pictures of VIPeR, which the run is scored on, are among those it"):
        refuse_learned(validation.name, validation.paths, everything)


def test_data_without_cameras_beside_others_is_scored_with_one_crop_a_person(tmp_path: Path, people: Path) -> None:
    own = fabrication.touch(tmp_path / "own", [f"{who}/{crop}.jpg" for who in "abcd" for crop in "123"])
    learned = training_data([[2, 2]] * 4)
    rules = [validation.protocol for validation in load_validations([people, own], learned, seed=0)]
    assert rules == ["single-query", "single-gallery-shot"]
    assert load_validations([own], learned, seed=0)[0].protocol == "no-cameras"  # as omnireid evaluate has it


def test_queries_nobody_can_find(tmp_path: Path) -> None:
    rows = [("a.jpg", 1, 1, "query"), ("b.jpg", 1, 1, "gallery"), ("c.jpg", 2, 2, "gallery")]
    fabrication.touch(tmp_path, [row[0] for row in rows])
    fabrication.write_csv(tmp_path / "manifest.csv", ("path", "person_id", "camera_id", "split"), rows)
    with pytest.raises(NoTrueMatchError, match="true match"):
        load_validation(tmp_path, layout="manifest", seed=0)


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="missing"):
        load_validation(tmp_path / "missing", layout="auto", seed=0)


def values(scores: RankingScores) -> dict[str, object]:
    """All that a score says, but for what only one of the two ways is asked for."""
    named = {field.name: getattr(scores, field.name) for field in fields(scores)}
    named.pop("camera_pairs")
    return named


@pytest.mark.parametrize(("batch", "distance"), [(128, "euclidean"), (7, "cosine")])
def test_scores_are_those_of_omnireid_evaluate(
    people: Path, network: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, distance: Distance
) -> None:
    monkeypatch.setattr(assessment, "BATCH", batch)
    weights = network.state_dict()
    path = tmp_path / "weights.safetensors"
    metadata = WeightsMetadata("osnet_x0_25", network.embedding_width, preprocessing=SIZE)
    write_artefact(path, {name: value.numpy() for name, value in weights.items()}, metadata)
    embedder = load_embedder(path, RuntimeOptions(runtime="torch", device="cpu"))
    expected = evaluate_embedder(embedder, [load_dataset(people)], RankingOptions(distance=distance)).scores

    validation = load_validation(people, layout="auto", seed=0)
    assert validation is not None
    judge = create_model("osnet_x0_25", generator=torch.Generator().manual_seed(9))
    pixels, device = pixels_of(validation), torch.device("cpu")
    scores = assess(judge, weights, validation, pixels, distance, device=device, ranks=Ranks())
    assert values(scores) == values(expected)
    assert 0 < scores.mean_average_precision < 1
    for name, value in judge.state_dict().items():
        assert torch.equal(value, weights[name])  # evaluating moved no running statistic


def test_scores_follow_the_protocol_and_the_weights(people: Path, network: Backbone) -> None:
    validation = load_validation(people, layout="auto", seed=0)
    assert validation is not None
    pixels = pixels_of(validation)
    judge = create_model("osnet_x0_25")

    def score(state: dict[str, torch.Tensor], how: Validation) -> RankingScores:
        return assess(judge, state, how, pixels, "euclidean", device=torch.device("cpu"), ranks=Ranks())

    strict = score(network.state_dict(), validation)
    free = score(network.state_dict(), replace(validation, protocol="no-cameras"))
    assert (strict.protocol, strict.distance) == ("single-query", "euclidean")
    assert free.protocol == "no-cameras"
    assert free.rank1 > strict.rank1  # the crop beside the query, by its own camera, may be found
    other = score(create_model("osnet_x0_25", generator=torch.Generator().manual_seed(4)).state_dict(), validation)
    assert other.mean_average_precision != strict.mean_average_precision
    assert values(score(network.state_dict(), validation)) == values(strict)


def test_weights_of_another_network_are_refused(people: Path, network: Backbone) -> None:
    validation = load_validation(people, layout="auto", seed=0)
    assert validation is not None
    weights = dict(list(network.state_dict().items())[1:])
    pixels, device = pixels_of(validation), torch.device("cpu")
    with pytest.raises(RuntimeError, match="Missing key"):
        assess(network, weights, validation, pixels, "euclidean", device=device, ranks=Ranks())
