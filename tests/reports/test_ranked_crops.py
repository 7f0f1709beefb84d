from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.errors import ImageError, SettingError
from omnireid.evaluation.evaluation import Evaluation, evaluate
from omnireid.reports.ranked_crops import CROP_HEIGHT, CROP_WIDTH, draw_ranked_crops
from omnireid.retrieval.options import RankingOptions
from omnireid.types import FloatArray, Split

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


@pytest.fixture
def split(crop_folder: Path) -> Split:
    paths = tuple(sorted(crop_folder.iterdir()))
    people = np.array([int(path.name[:4]) for path in paths])
    cameras = np.array([int(path.name[6]) for path in paths])
    return Split(paths, people, cameras)


def perfect(split: Split) -> FloatArray:
    """Embeddings that put a person's crops together."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((len(split), 4))
    return (np.eye(4)[split.person_ids] + noise).astype(np.float32)


def evaluate_split(split: Split, gallery: FloatArray, ranking: RankingOptions = RankingOptions()) -> Evaluation:
    made = Provenance("ab" * 32, "osnet_x0_25", {}, "euclidean", "unknown", "0")
    query = EmbeddingTable(split, perfect(split), made)
    return evaluate(query, EmbeddingTable(split, gallery, made), ranking)


def count(picture: Path, colour: tuple[int, int, int]) -> int:
    with Image.open(picture) as image:
        assert image.format == "PNG"
        return int((np.asarray(image) == colour).all(axis=2).sum())


def test_right_and_wrong_are_framed(tmp_path: Path, split: Split) -> None:
    output = tmp_path / "ranked.png"
    draw_ranked_crops(evaluate_split(split, perfect(split)), output, queries=2, ranks=2)
    frame = (CROP_WIDTH + 10) * (CROP_HEIGHT + 10) - CROP_WIDTH * CROP_HEIGHT
    assert count(output, BLUE) >= 4 * frame
    assert count(output, ORANGE) == 0
    draw_ranked_crops(evaluate_split(split, -perfect(split)), output, queries=2, ranks=2)
    assert count(output, BLUE) == 0
    assert count(output, ORANGE) >= 4 * frame


def test_a_reranked_evaluation_is_drawn_as_it_was_scored(tmp_path: Path, split: Split) -> None:
    gallery = np.random.default_rng(1).standard_normal((len(split), 4)).astype(np.float32)
    plain, reranked = (
        evaluate_split(split, gallery, ranking)
        for ranking in (RankingOptions(), RankingOptions(rerank=True, k1=4, k2=3, lambda_value=0))
    )
    assert plain.ranked.indices.tolist() != reranked.ranked.indices.tolist()
    pictures = []
    for evaluation in (plain, reranked, replace(reranked, ranked=plain.ranked)):
        draw_ranked_crops(evaluation, tmp_path / "ranked.png", queries=12, ranks=3)
        pictures.append((tmp_path / "ranked.png").read_bytes())
    assert len(set(pictures)) == 3


def test_the_same_seed_draws_the_same_picture(tmp_path: Path, split: Split) -> None:
    evaluation = evaluate_split(split, perfect(split))
    pictures = []
    for seed in (1, 1, 2):
        draw_ranked_crops(evaluation, tmp_path / "p.png", queries=2, seed=seed, title="t")
        pictures.append((tmp_path / "p.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_crops_of_the_own_camera_are_not_shown(tmp_path: Path, split: Split) -> None:
    output = tmp_path / "ranked.png"
    draw_ranked_crops(evaluate_split(split, perfect(split)), output, queries=1, ranks=100)
    with Image.open(output) as few:
        narrow = few.width
    draw_ranked_crops(
        evaluate_split(split, perfect(split), RankingOptions(protocol="no-cameras")), output, queries=1, ranks=100
    )
    with Image.open(output) as all_of_them:
        assert all_of_them.width == narrow + 2 * (CROP_WIDTH + 20)


def test_what_cannot_be_drawn_is_named(tmp_path: Path, split: Split) -> None:
    evaluation = evaluate_split(split, perfect(split))
    with pytest.raises(SettingError, match="queries must be a whole number, at least 1; got 0"):
        draw_ranked_crops(evaluation, tmp_path / "p.png", queries=0)
    missing = Split((*split.paths[:-1], tmp_path / "gone.jpg"), split.person_ids, split.camera_ids)
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        draw_ranked_crops(evaluate_split(missing, perfect(split)), tmp_path / "p.png", queries=12)
    assert not (tmp_path / "p.png").exists()
