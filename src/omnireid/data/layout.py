"""What a layout is: how one kind of data set is recognised, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omnireid.types import Dataset


@dataclass(frozen=True)
class Request:
    """What the caller of `load_dataset` asked for, beside the folder.

    Attributes:
        split: which published split, from 0.
        seed: of the automatic split of data that has none.
        progress: show a bar where reading takes long (extracting CUHK03).
    """

    split: int = 0
    seed: int = 0
    progress: bool = True


@dataclass(frozen=True)
class Published:
    """The published size of one split; None where it differs from split to split.

    Identities are counted as distinct person ids, so all distractors (id 0) together are one.
    """

    images: int | None
    identities: int | None


@dataclass(frozen=True)
class Layout:
    """One kind of data set.

    Attributes:
        name: what the user types.
        sentence: what it is, in one sentence.
        expected: the folder form it has, for error messages.
        licence: terms of use in one line.
        detect: given a folder and the names in it, whether it looks like the data set's root.
        read: given that root, the data set. Published counts are checked by the caller.
        is_readable: given that root, whether no part is missing. Asked only where several layouts fit one folder.
        split_count: how many published splits there are to average over.
        published: the published counts by split name.
        people_numbered_apart: the same person id in train and test is *not* the same person.
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


def few_identities(dataset: Dataset) -> str | None:
    """A sentence where the gallery holds fewer than two identities, so that every answer to a query is right."""
    identities = len(np.unique(dataset.gallery.person_ids))
    if not len(dataset.gallery) or identities > 1:
        return None
    return (
        "The gallery holds one identity only: every answer is right whatever the model does, and the scores mean "
        "nothing. Add crops of other people, or check that folders and ids name people."
    )


def count_differences(dataset: Dataset, layout: Layout) -> tuple[str, ...]:
    """How a data set differs from its published counts, one sentence a split; empty where it does not.

    Data read by a published layout under a name of its own (such as the drawn
    set, in Market-1501's layout) has no published counts.
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
