from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnireid import Gallery, evaluate, load_dataset, load_embedder
from omnireid.embedding.chunks import embed_crops
from omnireid.embedding.tables import EmbeddingTable
from omnireid.types import Crops

WEIGHTS = "osnet_x0_25_market1501.pth"


def score_through(gallery: Gallery, query: EmbeddingTable) -> tuple[float, float]:
    """Rank-1 and mAP of what the gallery finds; a sighting of the query's own person by its own camera is skipped."""
    sightings = gallery.sightings().table
    persons = np.array([int(person or 0) for person in sightings.column("person").to_pylist()])
    cameras = np.array([int(camera) for camera in sightings.column("camera").to_pylist()])
    assert query.crops.person_ids is not None
    assert query.crops.camera_ids is not None
    # All queries at once, as evaluate compares them: float32 products round in another way in other blocks.
    found = gallery.search(query.embeddings, len(persons)).ranked.indices
    first, precisions = [], []
    for person, camera, order in zip(
        query.crops.person_ids.tolist(), query.crops.camera_ids.tolist(), found, strict=True
    ):
        counted = order[~((persons[order] == person) & (cameras[order] == camera))]
        ranks = np.flatnonzero(persons[counted] == person) + 1
        first.append(ranks[0] == 1)
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(first)), float(np.mean(precisions))


def every_eighth_person(crops: Crops) -> Crops:
    """The crops of some people, and of some distractors among them, which are person 0."""
    assert crops.person_ids is not None
    is_distractor = crops.person_ids == 0
    is_distractor &= np.cumsum(is_distractor) % 8 == 0
    return crops.select(np.flatnonzero(is_distractor | ((crops.person_ids > 0) & (crops.person_ids % 8 == 0))))


@pytest.mark.real
@pytest.mark.slow
def test_market_1501_scores_the_same_through_a_gallery(shared: Path, tmp_path: Path) -> None:
    embedder = load_embedder(shared / "weights" / WEIGHTS)
    dataset = load_dataset(shared / "data" / "Market-1501-v15.09.15")
    query, stored = (embed_crops(embedder, every_eighth_person(crops)) for crops in (dataset.query, dataset.gallery))
    exact = Gallery.open(tmp_path / "exact.gallery", float_type="float32")
    assert exact.add(stored).added == len(stored)
    scores = evaluate(query, stored).scores
    rank1, mean_average_precision = score_through(exact, query)
    assert rank1 == scores.rank1
    assert mean_average_precision == pytest.approx(scores.mean_average_precision, abs=1e-12)
    halved = Gallery.open(tmp_path / "halved.gallery")
    halved.add(stored)
    rounded = replace(stored, embeddings=stored.embeddings.astype(np.float16).astype(np.float32))
    scores = evaluate(query, rounded).scores
    rank1, mean_average_precision = score_through(halved, query)
    assert rank1 == scores.rank1
    assert mean_average_precision == pytest.approx(scores.mean_average_precision, abs=1e-12)
