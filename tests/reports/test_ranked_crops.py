from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnireid.errors import DataError, ImageError, NoTrueMatchError
from omnireid.reports.ranked_crops import CROP_HEIGHT, CROP_WIDTH, draw_ranked_crops
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
    return np.eye(4, dtype=np.float32)[split.person_ids]


def count(picture: Path, colour: tuple[int, int, int]) -> int:
    with Image.open(picture) as image:
        assert image.format == "PNG"
        return int((np.asarray(image) == colour).all(axis=2).sum())


def test_right_and_wrong_are_framed(tmp_path: Path, split: Split) -> None:
    output = tmp_path / "ranked.png"
    embeddings = perfect(split)
    draw_ranked_crops(split, split, embeddings, embeddings, output, queries=2, ranks=2)
    frame = (CROP_WIDTH + 10) * (CROP_HEIGHT + 10) - CROP_WIDTH * CROP_HEIGHT
    assert count(output, BLUE) >= 4 * frame
    assert count(output, ORANGE) == 0
    draw_ranked_crops(split, split, embeddings, -embeddings, output, queries=2, ranks=2)
    assert count(output, BLUE) == 0
    assert count(output, ORANGE) >= 4 * frame


def test_the_same_seed_draws_the_same_picture(tmp_path: Path, split: Split) -> None:
    embeddings = perfect(split)
    pictures = []
    for seed in (1, 1, 2):
        draw_ranked_crops(split, split, embeddings, embeddings, tmp_path / "p.png", queries=2, seed=seed, title="t")
        pictures.append((tmp_path / "p.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_crops_of_the_own_camera_are_not_shown(tmp_path: Path, split: Split) -> None:
    output = tmp_path / "ranked.png"
    embeddings = perfect(split)
    draw_ranked_crops(split, split, embeddings, embeddings, output, queries=1, ranks=100)
    with Image.open(output) as few:
        narrow = few.width
    draw_ranked_crops(split, split, embeddings, embeddings, output, queries=1, ranks=100, protocol="no-cameras")
    with Image.open(output) as all_of_them:
        assert all_of_them.width == narrow + 2 * (CROP_WIDTH + 20)


def test_refusals(tmp_path: Path, split: Split) -> None:
    embeddings = perfect(split)
    with pytest.raises(DataError, match="at least one query"):
        draw_ranked_crops(split, split, embeddings, embeddings, tmp_path / "p.png", queries=0)
    strangers = Split(split.paths, split.person_ids + 10, split.camera_ids)
    with pytest.raises(NoTrueMatchError):
        draw_ranked_crops(split, strangers, embeddings, embeddings, tmp_path / "p.png")
    missing = Split((*split.paths[:-1], tmp_path / "gone.jpg"), split.person_ids, split.camera_ids)
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        draw_ranked_crops(missing, missing, embeddings, embeddings, tmp_path / "p.png", queries=12)
    assert not (tmp_path / "p.png").exists()
