"""Layouts: how one kind of data set is recognised, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omnireid.types import Dataset


@dataclass(frozen=True)
class Request:
    """What the caller of `load_dataset` asked for, besides the folder.

    Attributes:
        split: Which published split to read, from 0.
        seed: Seed for the automatic split, used only when the data set defines none.
        progress: Whether to show a bar while something slow runs, such as extracting CUHK03.
    """

    split: int = 0
    seed: int = 0
    progress: bool = True


@dataclass(frozen=True)
class Published:
    """The published size of one split. A number is None if it differs between the published splits.

    Identities are counted as distinct person ids, so all distractors (id 0) together are one.
    """

    images: int | None
    identities: int | None


@dataclass(frozen=True)
class Layout:
    """One kind of data set.

    Attributes:
        name: The name a user types.
        sentence: One sentence that describes the data set.
        expected: The files and folders it consists of, for error messages.
        licence: Terms of use in one line.
        detect: Takes a folder and the names in it; returns whether it looks like the data set's root.
        read: Takes that root and returns the data set. The caller checks the published counts.
        is_readable: Takes that root and returns whether no part is missing. Called only if several layouts fit.
        split_count: Number of published splits to average over.
        published: Published counts by split name.
        people_numbered_apart: Whether a person id that occurs in train and in test stands for two people.
    """

    name: str
    sentence: str
    expected: str
    licence: str
    detect: Callable[[Path, frozenset[str]], bool]
    read: Callable[[Path, Request], Dataset]
    is_readable: Callable[[Path], bool] = lambda _root: True
    split_count: int = 1
    published: Mapping[str, Published] = field(default_factory=dict)
    people_numbered_apart: bool = False


def count_differences(dataset: Dataset, layout: Layout) -> tuple[str, ...]:
    """Describe how a data set differs from its published counts, with a sentence for each split that does.

    Data with a name of its own in a published layout, such as a drawn set in
    Market-1501's layout, has no published counts.
    """
    if dataset.name != layout.name:
        return ()
    sentences = []
    for name, published in layout.published.items():
        split = dataset.splits.get(name)
        found = {
            "images": 0 if split is None else len(split),
            "identities": 0 if split is None else len(np.unique(split.person_ids)),
        }
        stated = {"images": published.images, "identities": published.identities}
        wrong = [
            f"{found[what]:,} {what} (published: {number:,})"
            for what, number in stated.items()
            if number is not None and number != found[what]
        ]
        if wrong:
            sentences.append(f"{name} has {' and '.join(wrong)}; scores are not comparable with published ones.")
    return tuple(sentences)
