"""Several data sets in one command: the names that tell them apart, and the refusal of one that was given twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omnireid.data.datasets import LAYOUTS
from omnireid.data.layout import count_differences
from omnireid.data.manifest import MANIFEST_FILES
from omnireid.errors import DataError
from omnireid.types import Dataset


def name_apart(datasets: Sequence[Dataset]) -> tuple[str, ...]:
    """Name each data set so that no two names are equal and none promises more than the data holds.

    A published data set whose counts are not the published ones goes by its folder: crops of other people in
    Market-1501's layout are not Market-1501. Where two names are equal, the folders tell them apart.
    """
    names = [_honest_name(dataset) for dataset in datasets]
    for places in ([_folder_name(dataset) for dataset in datasets], [str(dataset.root) for dataset in datasets]):
        count = Counter(names)
        names = [
            f"{_honest_name(dataset)} ({place})" if count[name] > 1 else name
            for dataset, place, name in zip(datasets, places, names, strict=True)
        ]
    return tuple(names)


def _honest_name(dataset: Dataset) -> str:
    is_as_published = not count_differences(dataset, LAYOUTS[dataset.layout])
    return dataset.name if is_as_published else _folder_name(dataset)


def _folder_name(dataset: Dataset) -> str:
    return dataset.root.resolve().name


def refuse_repeated(datasets: Sequence[Dataset], consequence: str) -> None:
    """Check that no data set was given twice, under whatever path.

    Args:
        datasets: Data sets as they were read.
        consequence: What would go wrong, as the end of a sentence.

    Raises:
        DataError: two were read from the same folder or manifest.
    """
    places = [_place(dataset).stat() for dataset in datasets]
    for index, place in enumerate(places):
        first = next((other for other in range(index) if os.path.samestat(place, places[other])), None)
        if first is not None:
            one, other = datasets[first].root, datasets[index].root
            raise DataError(
                f"{other} was given twice{'' if one == other else f': {one} is the same'}. Give each data set once: "
                f"{consequence}"
            )


def _place(dataset: Dataset) -> Path:
    """The folder or manifest that a data set was read from."""
    manifests = [dataset.root / name for name in MANIFEST_FILES] if dataset.layout == "manifest" else []
    return next((file for file in manifests if file.is_file()), dataset.root)
