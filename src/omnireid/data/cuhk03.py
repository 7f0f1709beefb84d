"""CUHK03 with detected or labelled boxes, under the new protocol (767/700) or the classic one (20 splits).

Sources: Li et al., "DeepReID: Deep Filter Pairing Neural Network for Person
Re-identification", CVPR 2014 (data, classic splits); Zhong et al., "Re-ranking Person
Re-identification with k-reciprocal Encoding", CVPR 2017 (new protocol).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from omnireid.data.crops import image_names, passed_over_in, split_of
from omnireid.data.cuhk03_release import (
    RELEASE_FILE,
    TESTSETS_FILE,
    Kind,
    extract,
    images_folder,
    read_testsets,
    store_testsets,
)
from omnireid.data.folders import folder_names, is_visible, missing_files
from omnireid.data.layout import Layout, Published, Request
from omnireid.data.market_names import MARKET_FOLDERS, market_splits
from omnireid.data.matlab import read_mat
from omnireid.errors import DataError, IncompleteDatasetError, list_briefly
from omnireid.types import Dataset, Sample, Split

_PEOPLE_IN_PAIR = (843, 440, 77, 58, 49)
_NAME = re.compile(r"([1-5])_(\d{3})_([12])_\d{2}\.")
_LICENCE = "research only, on request from its authors"


@dataclass(frozen=True)
class Parts:
    """Where the parts of CUHK03 lie for one kind of boxes; None for a missing part."""

    images: Path | None
    release: Path | None
    lists: Path | None
    testsets: Path | None
    market: Path | None


def find_parts(folder: Path, kind: Kind) -> Parts:
    """Look for the parts in `folder` and in its ``cuhk03_release/``; if `folder` is that folder, also one level up."""
    places = [folder, folder / "cuhk03_release"]
    if folder.name == "cuhk03_release":
        places.append(folder.parent)
    market = folder if folder.name == kind else folder / kind

    def first(name: str) -> Path | None:
        return next((place / name for place in places if is_visible(place / name)), None)

    return Parts(
        images=first(images_folder(folder, kind).name),
        release=first(RELEASE_FILE),
        lists=first(f"cuhk03_new_protocol_config_{kind}.mat"),
        testsets=first(TESTSETS_FILE),
        market=market if any(is_visible(market / name) for name in MARKET_FOLDERS) else None,
    )


def detect(folder: Path, names: frozenset[str], kind: Kind, *, classic: bool) -> bool:
    """Recognise the images or the release file; for the new protocol also CUHK03-NP's folders."""
    signs = {RELEASE_FILE, "cuhk03_release", "images_detected", "images_labeled", "detected", "labeled"}
    if not names & signs and folder.name not in ("detected", "labeled"):
        return False
    parts = find_parts(folder, kind)
    has_images = parts.images is not None or parts.release is not None
    return has_images or (parts.market is not None and not classic)


def is_readable(folder: Path, kind: Kind, *, classic: bool) -> bool:
    """Whether no part is missing: neither the images nor the lists that say how they are split."""
    parts = find_parts(folder, kind)
    if parts.market is not None and parts.lists is None:
        return not classic
    has_images = parts.images is not None or parts.release is not None
    lists = (parts.testsets or parts.release) if classic else parts.lists
    return has_images and lists is not None


def read_new(root: Path, request: Request, kind: Kind) -> Dataset:
    """Read the new protocol: 767 people to train, 700 to test, scored by Market-1501's rule."""
    layout = LAYOUTS[f"cuhk03-{kind}"]
    parts = find_parts(root, kind)
    if parts.market is not None and parts.lists is None:
        splits, notes = market_splits(parts.market, layout.name)
        return _new_dataset(layout, root, splits, notes)
    if parts.lists is None:
        raise IncompleteDatasetError(
            f"{root} is not a complete {layout.name}: cuhk03_new_protocol_config_{kind}.mat is missing. It comes with "
            f"the new protocol (docs/datasets.md); put it beside {RELEASE_FILE}, or read the classic splits with the "
            f"layout cuhk03-classic-{kind}."
        )
    variables = read_mat(parts.lists, "filelist", "labels", "camId", "train_idx", "query_idx", "gallery_idx")
    names = [str(np.ravel(cell)[0]) for cell in np.ravel(variables["filelist"])]
    people, cameras = (np.ravel(variables[name]).tolist() for name in ("labels", "camId"))
    if not len(names) == len(people) == len(cameras):
        raise DataError(
            f"{parts.lists} lists {len(names)} files, {len(people)} labels and {len(cameras)} cameras. Copy it again."
        )
    folder = _image_folder(root, parts, kind, request)
    samples = [Sample(folder / name, *ids) for name, *ids in zip(names, people, cameras, strict=True)]
    chosen = {
        split: [samples[index - 1] for index in np.ravel(variables[f"{split}_idx"]).tolist()]  # counted from 1
        for split in ("train", "query", "gallery")
    }
    missing = missing_files(sample.path for split in chosen.values() for sample in split)
    if missing:
        raise IncompleteDatasetError(
            f"{len(missing):,} crops of {parts.lists.name} are not in {folder}: "
            f"{list_briefly([path.name for path in missing])}. Delete {folder.name}/ and extract {RELEASE_FILE} again."
        )
    return _new_dataset(layout, root, {name: split_of(crops) for name, crops in chosen.items()}, ())


def _new_dataset(layout: Layout, root: Path, splits: dict[str, Split], notes: tuple[str, ...]) -> Dataset:
    return Dataset(
        name=layout.name,
        layout=layout.name,
        root=root,
        train=splits["train"],
        query=splits["query"],
        gallery=splits["gallery"],
        licence=layout.licence,
        notes=notes,
    )


def read_classic(root: Path, request: Request, kind: Kind) -> Dataset:
    """Read one of the 20 classic splits.

    Its 100 test people have queries from their first camera and gallery crops from their second. Person
    ids are those of the new protocol, 1 to 1,467 through all camera pairs.
    """
    layout = LAYOUTS[f"cuhk03-classic-{kind}"]
    parts = find_parts(root, kind)
    folder = _image_folder(root, parts, kind, request)
    testsets = parts.testsets or folder.parent / TESTSETS_FILE
    if not testsets.is_file() and parts.release is not None:
        testsets = store_testsets(parts.release)
    if not testsets.is_file():
        raise IncompleteDatasetError(
            f"{root} is not a complete {layout.name}: the 20 test sets are missing. They are in {RELEASE_FILE}, which "
            f"stores them as {TESTSETS_FILE} when it is read once; put either beside {folder.name}/."
        )
    sets = read_testsets(testsets)
    if request.split >= len(sets):
        raise DataError(
            f"{testsets} holds {len(sets)} test sets instead of {layout.split_count}, so split {request.split} is "
            f"missing. Delete it and read {RELEASE_FILE} again."
        )
    test = {_person_id(pair, person, testsets) for pair, person in sets[request.split]}
    crops = _named_crops(folder)
    return Dataset(
        name=layout.name,
        layout=layout.name,
        root=root,
        train=split_of(crop for crop in crops if crop.person_id not in test),
        query=split_of(crop for crop in crops if crop.person_id in test and crop.camera_id == 1),
        gallery=split_of(crop for crop in crops if crop.person_id in test and crop.camera_id == 2),
        protocol="single-gallery-shot",
        split_index=request.split,
        split_count=layout.split_count,
        licence=layout.licence,
        notes=passed_over_in(folder.parent, (folder.name,)),
    )


def _image_folder(root: Path, parts: Parts, kind: Kind, request: Request) -> Path:
    if parts.images is not None:
        return parts.images
    if parts.release is not None:
        return extract(parts.release, kind, progress=request.progress)
    raise IncompleteDatasetError(
        f"{root} has neither images_{kind}/ nor {RELEASE_FILE}. "
        f"There: {list_briefly([name for name, _ in folder_names(root)], 12)}. Put the release file there."
    )


def _person_id(pair: int, person: int, where: Path) -> int:
    if not (1 <= pair <= len(_PEOPLE_IN_PAIR) and 1 <= person <= _PEOPLE_IN_PAIR[pair - 1]):
        raise DataError(
            f"{where} names person {person} of camera pair {pair}, whom CUHK03 does not have. Is it another file?"
        )
    return sum(_PEOPLE_IN_PAIR[: pair - 1]) + person


def _named_crops(folder: Path) -> list[Sample]:
    samples, strange = [], []
    for name in image_names(folder):
        match = _NAME.match(name)
        if match is None:
            strange.append(name)
        else:
            pair, person, camera_id = (int(part) for part in match.groups())
            samples.append(Sample(folder / name, _person_id(pair, person, folder / name), camera_id))
    if strange:
        raise DataError(
            f"{len(strange):,} image file(s) in {folder} are not named like 1_001_1_01.png (camera pair, person, "
            f"camera, image): {list_briefly(strange)}. Move them away."
        )
    return samples


_BOXES: dict[Kind, str] = {"detected": "boxes from a detector", "labeled": "boxes drawn by hand"}
_NEW_IMAGES: dict[Kind, tuple[int, int, int]] = {"detected": (7_365, 1_400, 5_332), "labeled": (7_368, 1_400, 5_328)}


def _new_layout(kind: Kind) -> Layout:
    train, query, gallery = _NEW_IMAGES[kind]
    return Layout(
        name=f"cuhk03-{kind}",
        sentence=f"CUHK03, {_BOXES[kind]}, new protocol: 767 identities to train, 700 to test, Market-1501's rule.",
        expected=f"{RELEASE_FILE} or images_{kind}/ with cuhk03_new_protocol_config_{kind}.mat; "
        f"or {kind}/ with bounding_box_train/, query/ and bounding_box_test/ (CUHK03-NP)",
        licence=_LICENCE,
        detect=partial(detect, kind=kind, classic=False),
        is_readable=partial(is_readable, kind=kind, classic=False),
        read=partial(read_new, kind=kind),
        published={"train": Published(train, 767), "query": Published(query, 700), "gallery": Published(gallery, 700)},
    )


def _classic_layout(kind: Kind) -> Layout:
    return Layout(
        name=f"cuhk03-classic-{kind}",
        sentence=f"CUHK03, {_BOXES[kind]}, classic protocol: 20 splits of 100 test identities, single gallery shot.",
        expected=f"{RELEASE_FILE}, or images_{kind}/ with {TESTSETS_FILE}",
        licence=_LICENCE,
        detect=partial(detect, kind=kind, classic=True),
        is_readable=partial(is_readable, kind=kind, classic=True),
        read=partial(read_classic, kind=kind),
        split_count=20,
        published={"train": Published(None, 1_367), "query": Published(None, 100), "gallery": Published(None, 100)},
    )


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        _new_layout("detected"),
        _new_layout("labeled"),
        _classic_layout("detected"),
        _classic_layout("labeled"),
    )
}
