"""Market-1501's file names and folders, which several data sets and many people's own crops share."""

from __future__ import annotations

import re
from pathlib import Path

from omnireid.data.crops import find_images, first_image_name, require_folders, split_of
from omnireid.errors import DataError, list_briefly
from omnireid.types import JUNK_PERSON_ID, Sample, Split

DISTRACTOR_PERSON_ID = 0
"""Market-1501's id for gallery crops of nobody who is searched for. It means this in Market-style names only."""

MARKET_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")

# 18 digits fit into an int64; a longer number is a time or a serial number, not an id.
_MARKET_FRAME = re.compile(r"-?\d{1,18}_c\d{1,18}s(\d{1,9})_(\d{1,9})_")
_MARKET_NAME = re.compile(r"(-?\d{1,18})_c(\d{1,18})(?!\d)")


def market_ids(name: str) -> tuple[int, int] | None:
    """Person and camera id in a name such as ``0002_c1s1_000451_03.jpg``, or None where it has another form.

    Numbers of 19 digits and more are not ids.
    """
    found = _MARKET_NAME.match(name)
    return (int(found.group(1)), int(found.group(2))) if found else None


def market_frame(name: str) -> tuple[int, int] | None:
    """Sequence and frame number in a name such as ``0002_c1s1_000451_03.jpg``, or None where it has another form.

    The cameras of a sequence were started at about the same time, so its frame numbers can be compared across cameras,
    with an error of seconds. Frame numbers of two sequences cannot.
    """
    found = _MARKET_FRAME.match(name)
    return (int(found.group(1)), int(found.group(2))) if found else None


def market_crops(folder: Path) -> tuple[list[Sample], tuple[str, ...]]:
    """The crops in a folder of Market-style names, without junk (person -1), and notes on files that are not read.

    Raises:
        DataError: an image file's name has another form. Such files are never dropped silently.
    """
    samples, strange = [], []
    found = find_images(folder, 0)
    for (name,) in found.files:
        ids = market_ids(name)
        if ids is None:
            strange.append(name)
        elif ids[0] != JUNK_PERSON_ID:
            samples.append(Sample(folder / name, *ids))
    if strange:
        raise DataError(
            f"{len(strange):,} image file(s) in {folder} are not named like 0002_c1s1_000451_03.jpg "
            f"(person, then camera): {list_briefly(strange)}. Rename them, move them away, or list the crops in a "
            "manifest (docs/datasets.md)."
        )
    return samples, tuple(f"{folder.name}: {note}" for note in found.passed_over.notes)


def without_distractors(samples: list[Sample], split: str) -> tuple[list[Sample], tuple[str, ...]]:
    """`samples` without person 0, and a note where there was one: a distractor is nobody to search for or to learn."""
    people = [sample for sample in samples if sample.person_id != DISTRACTOR_PERSON_ID]
    dropped = len(samples) - len(people)
    note = f"{split}: {dropped:,} crop(s) of person 0 left out; in Market-style names 0 marks a distractor, no person."
    return people, (note,) if dropped else ()


def market_splits(root: Path, layout: str) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Read train, query and gallery from the three Market-style folders, with notes on what was left out.

    Junk is dropped everywhere; distractors (person 0) stay in the gallery only.

    Raises:
        IncompleteDatasetError: a folder is missing or empty.
        DataError: an image file's name has another form.
    """
    require_folders(root, MARKET_FOLDERS, layout)
    crops: dict[str, list[Sample]] = {}
    notes: tuple[str, ...] = ()
    for split, name in zip(("train", "query", "gallery"), MARKET_FOLDERS, strict=True):
        crops[split], unread = market_crops(root / name)
        notes += unread
        if split != "gallery":
            crops[split], dropped = without_distractors(crops[split], split)
            notes += dropped
    return {split: split_of(samples) for split, samples in crops.items()}, notes


def first_market_name(root: Path) -> str:
    """The first image name in the first Market-style folder that has one; empty where none has."""
    return next(filter(None, (first_image_name(root / name) for name in MARKET_FOLDERS)), "")
