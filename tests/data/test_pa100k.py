"""PA-100K on drawn pictures, under its real names; its real counts are compared where the notes say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from omnireid.data import pa100k
from omnireid.data.attribute_sources import load_attributed_crops, read_attributes
from omnireid.errors import DataError, DataNotFoundError, IncompleteDatasetError

NAMES = (
    *("Female", "AgeOver60", "Age18-60", "AgeLess18", "Front", "Side", "Back", "Hat", "Glasses", "HandBag"),
    *("ShoulderBag", "Backpack", "HoldObjectsInFront", "ShortSleeve", "LongSleeve", "UpperStride", "UpperLogo"),
    *("UpperPlaid", "UpperSplice", "LowerStripe", "LowerPattern", "LongCoat", "Trousers", "Shorts", "Skirt&Dress"),
    "boots",
)
COUNTS = {"train": 4, "val": 2, "test": 2}


def cells(values: list[str]) -> Any:
    """A column of cells, as MATLAB writes it."""
    column = np.empty((len(values), 1), dtype=object)
    column[:, 0] = values
    return column


def write(root: Path, place: str, crops: str, **changes: Any) -> Path:
    """A small release: an annotation at `place`, and drawn crops in the folder `crops`."""
    labels = np.random.default_rng(0).integers(0, 2, (sum(COUNTS.values()), len(NAMES)), dtype=np.uint8)
    content: dict[str, Any] = {"attributes": cells(list(NAMES))}
    first = 0
    (root / crops).mkdir(parents=True)
    for word, count in COUNTS.items():
        names = [f"{number + 1:06d}.jpg" for number in range(first, first + count)]
        content |= {f"{word}_images_name": cells(names), f"{word}_label": labels[first : first + count]}
        for name in names:
            Image.new("RGB", (4, 8), (int(name[:6]), 0, 0)).save(root / crops / name)
        first += count
    annotation = root / place
    annotation.parent.mkdir(parents=True, exist_ok=True)
    savemat(annotation, {**content, **changes})
    return annotation


@pytest.mark.parametrize(
    ("place", "crops"),
    [
        ("annotation.mat", "data"),
        ("annotation/annotation.mat", "data"),
        ("annotation.mat", "release_data/release_data"),
    ],
)
def test_a_release_is_read_wherever_its_crops_lie(tmp_path: Path, place: str, crops: str) -> None:
    annotation = write(tmp_path, place, crops)
    read = read_attributes(tmp_path)
    assert read.source == annotation
    assert read.names == NAMES
    assert read.values.shape == (8, 26)
    assert [read.splits.count(split) for split in ("train", "validation", "test")] == [4, 2, 2]
    test = load_attributed_crops(read, "test")
    assert [path.name for path in test.paths] == ["000007.jpg", "000008.jpg"]
    assert read.pick(test).values.tolist() == read.values[6:].tolist()


def test_counts_that_differ_from_the_published_ones_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "annotation.mat", "data")
    assert "train: 4 crops, published: 80,000." in read_attributes(tmp_path).notes
    assert sum(pa100k.PUBLISHED.values()) == 100_000
    monkeypatch.setattr(pa100k, "PUBLISHED", {"train": 4, "validation": 2, "test": 2})
    assert read_attributes(tmp_path).notes == ()


def test_absent_crops_are_named(tmp_path: Path) -> None:
    write(tmp_path, "annotation.mat", "data")
    (tmp_path / "data" / "000003.jpg").unlink()
    with pytest.raises(IncompleteDatasetError, match=r"1 of the 8 crops that .* names are not there: .*000003.jpg"):
        read_attributes(tmp_path)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    with pytest.raises(IncompleteDatasetError, match=r"such as 000001.jpg, are not there. Unpack them into .*data"):
        read_attributes(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_label": np.full((2, 26), 2)}, "split validation, crop 000005.jpg, Female: a label is 0 or 1; found 2"),
        ({"test_label": np.zeros((2, 25))}, r"split test: 2 crops and 26 attributes, but labels of shape \(2, 25\)"),
        ({"train_images_name": cells([]), "train_label": np.zeros((0, 26))}, "split train: 0 crops"),
    ],
)
def test_a_damaged_annotation_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, "annotation.mat", "data", **changes)
    with pytest.raises(DataError, match=message):
        read_attributes(tmp_path)


def test_a_folder_without_an_annotation_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataNotFoundError, match=r"neither attributes.csv nor annotation.mat"):
        read_attributes(tmp_path)
