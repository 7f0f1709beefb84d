"""What `evaluate` adds to `evaluate_ranking`: what was found, scores of each query, and what makes scores doubtful."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.reference import distance_matrix

from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.errors import EmbeddingError, SettingError
from omnireid.evaluation.evaluation import Evaluation, evaluate
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.retrieval.expansion import expand_queries
from omnireid.retrieval.options import QueryExpansion, RankingOptions, Reranking
from omnireid.retrieval.reranking import rerank
from omnireid.terms import PROTOCOLS, Protocol
from omnireid.types import Crops, FloatArray

MADE = Provenance("ab" * 32, "osnet_x0_25", {}, "euclidean", "unknown", "0", runtime="onnxruntime fp32")


def make_table(
    embeddings: FloatArray, people: list[int], cameras: list[int] | None, name: str = "crop"
) -> EmbeddingTable:
    paths = tuple(Path(f"{name}{number}.jpg") for number in range(len(people)))
    return EmbeddingTable(
        Crops(paths, np.array(people), None if cameras is None else np.array(cameras)), embeddings, MADE
    )


def make_tables(seed: int = 0) -> tuple[EmbeddingTable, EmbeddingTable]:
    """People in overlapping clusters, with junk, distractors and people who cannot be found."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((9, 6))
    sides = []
    for name, count, lowest in (("query", 25, 0), ("gallery", 90, -1)):
        people = rng.integers(lowest, 9, count)
        rows = centres[people] + 0.7 * rng.standard_normal((count, 6))
        sides.append(make_table(rows.astype(np.float32), people.tolist(), rng.integers(0, 3, count).tolist(), name))
    return sides[0], sides[1]


def ranked_by_sorting(
    query: EmbeddingTable, gallery: EmbeddingTable, matrix: FloatArray, row: int, protocol: Protocol
) -> list[int]:
    """The whole ranking of one query, without the crops that the protocol skips."""
    left, right = query.labels, gallery.labels
    assert left is not None
    assert right is not None
    assert left.camera_ids is not None
    assert right.camera_ids is not None
    order = np.argsort(matrix[row], kind="stable")
    is_own = right.person_ids[order] == left.person_ids[row]
    skipped = right.person_ids[order] == -1
    if protocol != "no-cameras":
        skipped |= is_own & (right.camera_ids[order] == left.camera_ids[row])
    ranking: list[int] = order[~skipped].tolist()
    return ranking


@pytest.mark.parametrize("protocol", ["single-query", "no-cameras"])
@pytest.mark.parametrize("way", ["plain", "expanded", "reranked"])
def test_what_was_found_is_the_ranking_that_was_scored(protocol: Protocol, way: str) -> None:
    query, gallery = make_tables()
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "expanded": {"expand": 3},
        "reranked": {"rerank": True, "k1": 5, "k2": 3},
    }
    found = evaluate(query, gallery, RankingOptions(protocol=protocol, **changes[way]), depth=200)
    rows = query.embeddings
    if way == "expanded":
        rows = expand_queries(rows, gallery.embeddings, QueryExpansion(3))
    matrix = distance_matrix(rows, gallery.embeddings, "euclidean")
    if way == "reranked":
        matrix = rerank(rows, gallery.embeddings, Reranking(5, 3)).dense().astype(np.float64)
    people = gallery.crops.person_ids
    assert people is not None
    for row in np.flatnonzero(found.query_scores.is_counted).tolist():
        expected = ranked_by_sorting(query, gallery, matrix, row, protocol)  # type: ignore[arg-type]
        indices = found.ranked.indices[row]
        assert indices[indices >= 0].tolist() == expected
        is_right = found.is_true_match[row, : len(expected)]
        ranks = np.flatnonzero(is_right) + 1
        scores = found.query_scores
        assert scores.first_rank[row] == ranks[0]
        assert scores.true_matches[row] == len(ranks)
        assert scores.average_precision[row] == pytest.approx(np.mean(np.arange(1, len(ranks) + 1) / ranks))
        assert scores.inverse_negative_penalty[row] == pytest.approx(len(ranks) / ranks[-1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_query_scores_average_to_the_scores(protocol: Protocol) -> None:
    query, gallery = make_tables()
    found = evaluate(query, gallery, RankingOptions(protocol=protocol), repeats=3)
    assert query.labels is not None
    assert gallery.labels is not None
    arrays = (query.embeddings, gallery.embeddings, query.labels, gallery.labels)
    scores = evaluate_ranking(*arrays, protocol=protocol, repeats=3, camera_pairs=True)
    assert replace(found.scores, warnings=()) == replace(scores, warnings=())
    single = found.query_scores
    assert np.count_nonzero(single.is_counted) == scores.queries
    assert np.nanmean(single.average_precision) == pytest.approx(scores.mean_average_precision)
    assert np.nanmean(single.inverse_negative_penalty) == pytest.approx(scores.mean_inverse_negative_penalty)
    assert np.isnan(single.first_rank).tolist() == (~single.is_counted).tolist()
    assert (found.ranked.indices[~single.is_counted] == -1).all()
    assert len(found.ranked) == len(single) == len(found.crops.query)
    if protocol != "single-gallery-shot":
        assert np.mean(single.first_rank[single.is_counted] == 1) == pytest.approx(scores.rank1)
        found_first = found.is_true_match[single.is_counted, 0]
        assert np.mean(found_first) == pytest.approx(scores.rank1)


def test_multi_query_names_the_first_crop_of_each_average() -> None:
    query = make_table(np.array([[4.0], [0.0], [2.0]], dtype=np.float32), [5, 7, 5], [1, 1, 1], "query")
    gallery = make_table(np.array([[3.0], [0.5]], dtype=np.float32), [5, 7], [2, 2], "gallery")
    found = evaluate(query, gallery, RankingOptions(protocol="multi-query"))
    assert [path.name for path in found.crops.query.paths] == ["query0.jpg", "query1.jpg"]
    assert found.ranked.indices.tolist() == [[0, 1], [1, 0]]


def test_the_distance_and_the_protocol_come_from_the_tables() -> None:
    query, gallery = make_tables()
    cosine = [replace(table, provenance=replace(MADE, distance="cosine")) for table in (query, gallery)]
    assert evaluate(cosine[0], cosine[1]).scores.distance == "cosine"
    blind = [replace(table, crops=replace(table.crops, camera_ids=None)) for table in (query, gallery)]
    assert evaluate(blind[0], blind[1]).scores.protocol == "no-cameras"


def test_tables_of_two_precisions_are_scored_with_a_warning() -> None:
    query, gallery = make_tables()
    other = replace(gallery, provenance=replace(MADE, runtime="openvino bf16"))
    (warning,) = evaluate(query, other).scores.warnings
    assert "fp32" in warning
    assert "bf16" in warning


def test_a_collapsed_network_is_refused() -> None:
    query, gallery = make_tables()
    flat = [replace(table, embeddings=np.ones_like(table.embeddings)) for table in (query, gallery)]
    with pytest.raises(EmbeddingError, match=r"A tie decides each of the \d+ queries.*collapsed"):
        evaluate(flat[0], flat[1])


def test_ties_are_counted_and_said() -> None:
    # Queries of 1 and 2: the first has a stranger exactly as near as its match, the second only its own two crops.
    query = make_table(np.array([[0.0], [10.0]], dtype=np.float32), [1, 2], [1, 1], "query")
    rows = np.array([[1.0], [-1.0], [9.0], [11.0], [13.0]], dtype=np.float32)
    found = evaluate(query, make_table(rows, [1, 3, 2, 2, 3], [2] * 5, "gallery"))
    assert found.query_scores.is_tied.tolist() == [True, False]
    assert found.scores.queries_decided_by_tie == 1
    assert "1 of 2 queries are decided by a tie" in found.scores.warnings[0]
    assert found.json()["queries_decided_by_tie"] == 1
    assert "WARNING: 1 of 2 queries are decided by a tie" in found.table()


def test_a_junk_or_skipped_crop_ties_with_nobody() -> None:
    query = make_table(np.array([[0.0]], dtype=np.float32), [1], [1], "query")
    rows = np.array([[1.0], [-1.0], [-1.0], [5.0]], dtype=np.float32)
    found = evaluate(query, make_table(rows, [1, -1, 1, 3], [2, 2, 1, 2], "gallery"))
    assert found.scores.queries_decided_by_tie == 0


def test_a_gallery_of_one_identity_is_not_scored_in_silence() -> None:
    query = make_table(np.array([[0.0]], dtype=np.float32), [1], [1], "query")
    found = evaluate(
        query, make_table(np.array([[1.0], [5.0], [0.0]], dtype=np.float32), [1, 1, -1], [2] * 3, "gallery")
    )
    assert "only one identity" in found.scores.warnings[0]
    assert "WARNING: The gallery shows only one identity" in found.table()


def test_a_table_against_itself_is_not_scored_in_silence() -> None:
    _, gallery = make_tables()
    found = evaluate(gallery, gallery, RankingOptions(protocol="no-cameras"))
    assert found.scores.rank1 == 1
    assert found.scores.queries_with_copy == found.scores.queries
    assert found.table().startswith("WARNING: THE QUERIES ARE IN THE GALLERY.")
    assert found.json()["warnings"][0].startswith("THE QUERIES ARE IN THE GALLERY.")
    with_cameras = evaluate(gallery, gallery)  # a query's own crop is then skipped
    assert with_cameras.scores.queries_with_copy == 0


@pytest.mark.parametrize("kind", ["copy", "hard link", "symbolic link"])
@pytest.mark.parametrize("is_reranked", [False, True])
def test_copies_and_links_of_a_query_are_noticed(tmp_path: Path, kind: str, is_reranked: bool) -> None:
    query, gallery = make_tables()
    paths = [[tmp_path / path.name for path in table.paths] for table in (query, gallery)]
    for number, path in enumerate(paths[0] + paths[1]):
        path.write_bytes(f"picture {number:03}".encode())
    left, right = query.crops.person_ids, gallery.crops.person_ids
    assert left is not None
    assert right is not None
    rows = gallery.embeddings.copy()
    copies = 0
    for person in (2, 5):  # one crop of each is a query's picture, embedded in another batch or precision
        source, target = int(np.flatnonzero(left == person)[0]), int(np.flatnonzero(right == person)[0])
        paths[1][target].unlink()
        make = {"copy": shutil.copy, "hard link": os.link, "symbolic link": os.symlink}[kind]
        make(paths[0][source], paths[1][target])  # type: ignore[operator]
        rows[target] = query.embeddings[source] * np.float32(1.003)
        copies += 1
    tables = [
        replace(table, crops=replace(table.crops, paths=tuple(files), camera_ids=None), embeddings=embeddings)
        for table, files, embeddings in ((query, paths[0], query.embeddings), (gallery, paths[1], rows))
    ]
    found: Evaluation = evaluate(tables[0], tables[1], RankingOptions(rerank=is_reranked))
    assert found.scores.queries_with_copy == copies
    assert (
        f"{copies} of {found.scores.queries} queries find their own picture in the gallery" in found.scores.warnings[0]
    )


def test_similar_pictures_are_not_copies() -> None:
    query, gallery = make_tables()
    rows = gallery.embeddings.copy()
    rows[:20] = query.embeddings[:20] * np.float32(1.0001)
    found = evaluate(query, replace(gallery, embeddings=rows), RankingOptions(protocol="no-cameras"))
    assert found.scores.queries_with_copy == 0


def test_a_negative_depth_is_named() -> None:
    with pytest.raises(SettingError, match="depth must be a whole number, at least 0; got -1"):
        evaluate(*make_tables(), depth=-1)
