"""What a network learns from: the crops of one or several data sets, with identities and cameras numbered from 0."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from omnireid.data.collection import name_apart, refuse_repeated
from omnireid.data.datasets import LAYOUTS, load_dataset
from omnireid.data.folders import real_places
from omnireid.data.identical import group_identical
from omnireid.data.market_names import DISTRACTOR_PERSON_ID, market_ids
from omnireid.errors import DataError, list_briefly
from omnireid.types import JUNK_PERSON_ID, Dataset, IntArray

NO_IDENTITY = -1
"""Identity of a crop whose person is not known; only a teacher can say something about it."""

_TRAIN_HALF = ("train", "validation")
_TEST_HALF = ("query", "gallery", "multi_query")

_LAYOUTS_WITH_DISTRACTORS = frozenset({"market1501", "dukemtmcreid", "cuhk03-detected", "cuhk03-labeled", "grid"})
"""Layouts in which person 0 marks a distractor. In MSMT17, VIPeR and a manifest, 0 is a person like any other."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """N crops of one or several data sets, identities numbered 0..C-1 without gaps and kept apart between sources.

    Attributes:
        paths: N files, none of them twice.
        identities: (N,) int64 in [0, C); `NO_IDENTITY` for an unlabelled crop (see `omnireid.data.unlabelled`).
        cameras: (N,) int64 in [0, number of cameras), kept apart between sources; None if any source lacks them.
        names: Names of the data sets, in order.
        licence: Terms of use of all data sets, in one line.
        roots: Folders of the data sets; file names in the fingerprint are relative to them.
        titles: Names for the record of the weights, from `omnireid.data.collection.name_apart`; empty means `names`.

    Raises:
        DataError: The arrays disagree in length.
    """

    paths: tuple[Path, ...]
    identities: IntArray
    cameras: IntArray | None
    names: tuple[str, ...]
    licence: str
    roots: tuple[Path, ...] = ()
    titles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {"paths": len(self.paths), "identities": len(self.identities)}
        if self.cameras is not None:
            lengths["cameras"] = len(self.cameras)
        if len(set(lengths.values())) > 1:
            raise DataError(f"Training data must be aligned, one entry a crop; the lengths are {lengths}.")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def has_unlabelled(self) -> bool:
        """Whether there are crops without an identity."""
        return bool((self.identities == NO_IDENTITY).any())

    @property
    def identity_count(self) -> int:
        """Number of people, C."""
        return int(self.identities.max()) + 1 if len(self) else 0

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the data sets' names and each crop's file name, size, identity and camera, in order.

        File names are relative to the data set's folder, so moving it changes nothing; renaming a folder of one's
        own crops does, since its name is the data set's. The bytes are not read: two files with one name and one size
        are taken for the same. Of a file outside all `roots`, only the last part of the path counts.

        Raises:
            DataError: A crop is missing.
        """
        digest = hashlib.sha256(json.dumps(self.names).encode())
        cameras = [None] * len(self) if self.cameras is None else self.cameras.tolist()
        names = _relative_names(self.paths, self.roots)
        for path, *facts in zip(self.paths, names, self.identities.tolist(), cameras, strict=True):
            try:
                size = path.stat().st_size
            except OSError as error:
                raise DataError(f"Cannot look at {path}: {error.strerror}. Unpack the data set again.") from error
            digest.update(json.dumps([*facts, size]).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Source:
    """The crops of one data set; each field has N values."""

    paths: list[Path]
    people: IntArray
    cameras: IntArray | None


def load_training_data(
    roots: Sequence[Path],
    *,
    layout: str = "auto",
    use_test_identities: bool = False,
    split: int = 0,
    seed: int = 0,
) -> TrainingData:
    """Read the crops to learn from, data set after data set, each in its own order.

    Only the train split is used, unless `use_test_identities` is set. Then validation, query, gallery and multi_query
    crops follow it, without junk (person -1) and distractors (person 0 in layouts that have them). A person id that
    occurs in the train and the test half is one person, except in layouts that number the halves separately (MSMT17).

    Data without a split (one folder per person) is split automatically: half of its people train, and
    `use_test_identities` gives all of them. People with a single crop are kept.

    Args:
        roots: Folders or manifests. Two data sets have no identity and no camera in common, whatever their numbers.
        layout: Layout of all data sets: a name in `LAYOUTS`, or ``auto``.
        use_test_identities: Learn from the test identities too. Nothing may be scored on them then.
        split: Which published split of the data sets to read, from 0, if there are several (CUHK03 classic, VIPeR,
            GRID). A data set that lacks it is an error.
        seed: Seed for the automatic split, used only when the data set defines none.

    Raises:
        DataError: There is no root, or one twice; crops belong to two data sets; there is no crop to learn from, or
            only one identity; or whatever `load_dataset` raises.
    """
    if not roots:
        raise DataError("Nothing to learn from: no data set was given. Give --data FOLDER.")
    datasets = [load_dataset(root, layout, split=split, seed=seed) for root in roots]
    refuse_repeated(datasets, "a second time its people would be learned as other people.")
    sources = [_source(dataset, use_test_identities) for dataset in datasets]
    _refuse_shared_crops(datasets, sources)
    _refuse_copies(datasets, sources)
    known = [source.cameras for source in sources if source.cameras is not None]
    names = tuple(dataset.name for dataset in datasets)
    data = TrainingData(
        paths=tuple(path for source in sources for path in source.paths),
        identities=_numbered_apart([source.people for source in sources]),
        cameras=_numbered_apart(known) if len(known) == len(sources) else None,
        names=names,
        licence="; ".join(dict.fromkeys(dataset.licence for dataset in datasets)),
        roots=tuple(_home(dataset.root) for dataset in datasets),
        titles=name_apart(datasets),
    )
    if data.identity_count < 2:
        raise DataError(
            f"Only one identity to learn from, in {len(data):,} crop(s) of {' and '.join(names)}: there is nobody to "
            "tell it from. Add people or another --data; of data that was split automatically, "
            "--use-test-identities takes all people."
        )
    return data


def _source(dataset: Dataset, use_test_identities: bool) -> _Source:
    """Read the crops of one data set, each file once. People of train and test get different numbers if they must.

    Raises:
        DataError: there is none.
    """
    chosen = [*_TRAIN_HALF, *_TEST_HALF] if use_test_identities else ["train"]
    splits = {name: split for name, split in dataset.splits.items() if name in chosen}
    apart = LAYOUTS[dataset.layout].people_numbered_apart
    nobody = {JUNK_PERSON_ID} | ({DISTRACTOR_PERSON_ID} if _has_distractors(dataset) else set())
    people: dict[Path, tuple[bool, int]] = {}
    cameras: dict[Path, int] = {}
    for name, split in splits.items():
        half = apart and name in _TEST_HALF
        seen = [0] * len(split) if split.camera_ids is None else split.camera_ids.tolist()
        for path, person, camera in zip(split.paths, split.person_ids.tolist(), seen, strict=True):
            if person not in nobody and path not in people:
                people[path] = (half, person)
                cameras[path] = camera
    if not people:
        raise DataError(
            f"{dataset.name} in {dataset.root} has no crop to learn from: its train split is empty. Add train crops, "
            "or learn from its other crops with --use-test-identities, and score on other data."
            if not use_test_identities
            else f"{dataset.name} in {dataset.root} has no crop of a person to learn from. Give another --data."
        )
    is_known = all(split.camera_ids is not None for split in splits.values())
    return _Source(list(people), _numbers(people.values()), _numbers(cameras.values()) if is_known else None)


def _has_distractors(dataset: Dataset) -> bool:
    """Whether person 0 marks a distractor. In a folder it does if every crop has a Market-style name."""
    if dataset.layout == "folder":
        return all(market_ids(path.name) for split in dataset.splits.values() for path in split.paths)
    return dataset.layout in _LAYOUTS_WITH_DISTRACTORS


def _numbers(values: Iterable[Hashable]) -> IntArray:
    """Number sortable values from 0, in their sorted order."""
    values = list(values)
    number = {value: index for index, value in enumerate(sorted(set(values)))}  # type: ignore[type-var]
    return np.array([number[value] for value in values], dtype=np.int64)


def _numbered_apart(parts: Sequence[IntArray]) -> IntArray:
    """Join parts that each count from 0 without gaps; each part continues the numbers of the one before."""
    counts = [int(part.max()) + 1 for part in parts]
    starts = np.cumsum([0, *counts])
    return np.concatenate([part + start for part, start in zip(parts, starts, strict=False)]).astype(np.int64)


def _home(root: Path) -> Path:
    return root.parent if root.is_file() else root  # a manifest's crops are named from its folder


def _refuse_shared_crops(datasets: Sequence[Dataset], sources: Sequence[_Source]) -> None:
    """Check that no file comes from two data sets: its person would be two identities."""
    first: dict[str, int] = {}
    for index, source in enumerate(sources):
        names = [os.path.join(*place) for place in real_places(source.paths)]  # noqa: PTH118
        shared = [name for name in names if name in first]
        if shared:
            raise DataError(
                f"{len(shared):,} crop(s) belong to both {datasets[first[shared[0]]].root} and "
                f"{datasets[index].root}: {list_briefly(shared)}. "
                "Their people would be learned as two identities each. Leave one of the two out."
            )
        first.update(dict.fromkeys(names, index))


def _refuse_copies(datasets: Sequence[Dataset], sources: Sequence[_Source]) -> None:
    """Check that no data set is a copy of another: most of the smaller one's files have the same bytes in both."""
    if len(sources) < 2:
        return
    owners = [index for index, source in enumerate(sources) for _ in source.paths]
    copies = Counter(
        pair
        for group in group_identical([path for source in sources for path in source.paths])
        for pair in combinations(sorted({owners[index] for index in group}), 2)
    )
    for (first, second), count in copies.items():
        if 2 * count > min(len(sources[first].paths), len(sources[second].paths)):
            raise DataError(
                f"{count:,} crop(s) are byte for byte both in {datasets[first].root} and in {datasets[second].root}: "
                "one is a copy of the other, and its people would be learned as two identities each. Leave one of "
                "the two out."
            )


def _relative_names(paths: Sequence[Path], roots: Sequence[Path]) -> list[str]:
    """Each path relative to the deepest of `roots` that holds it; outside all of them, only the file's name."""
    deepest_first = sorted(roots, key=lambda root: len(root.parts), reverse=True)
    prefixes: dict[str, str] = {}  # by folder: pathlib is slow, and many crops share a folder
    names = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in prefixes:
            home = next((root for root in deepest_first if Path(folder).is_relative_to(root)), Path(folder))
            prefixes[folder] = Path(folder).relative_to(home).as_posix()
        names.append(f"{prefixes[folder]}/{name}")
    return names
