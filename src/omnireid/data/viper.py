"""VIPeR, scored on a published file of partitions: 10 random halves in 2 directions each.

Source: Gray et al., "Evaluating Appearance Models for Recognition, Reacquisition,
and Tracking", PETS 2007. The partitions are those published with Chen et al.,
"Similarity Learning with Spatial Constraints for Person Re-identification", CVPR 2016.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from omnireid.data.crops import first_image_name, image_names, passed_over_in, require_folders, split_of
from omnireid.data.folders import is_visible
from omnireid.data.layout import Layout, Published, Request
from omnireid.data.matlab import read_mat
from omnireid.errors import DataError, IncompleteDatasetError, list_briefly
from omnireid.types import Dataset, Sample

PARTITIONS = 10
"""The file holds 100 partitions; results are averaged over the first 10."""

_PARTITION_FILE = "partition_viper.mat"
_CAMERAS = {"cam_a": 1, "cam_b": 2}
_NAME = re.compile(r"(\d{1,9})_", re.ASCII)
_OWN_NAME = re.compile(r"\d{3}_\d{1,3}\.bmp", re.ASCII | re.IGNORECASE)


def detect(folder: Path, names: frozenset[str]) -> bool:
    """Recognise VIPeR's two camera folders together with its file names or its partitions.

    The folders alone are not enough: a person's folder in your own data may hold folders of these names.
    """
    if not names >= set(_CAMERAS):
        return False
    return (
        _OWN_NAME.fullmatch(first_image_name(folder / "cam_a")) is not None
        or _PARTITION_FILE in names
        or is_visible(folder.parent / _PARTITION_FILE)
    )


def read(root: Path, request: Request) -> Dataset:
    """Read one of 20 splits. Split s uses partition s // 2.

    Even splits take their queries from camera a and their gallery from camera b; odd splits the other way round. Both
    learn from the partition's ``trnSet`` and are tested on its ``tstSet``, which never change places.
    """
    require_folders(root, tuple(_CAMERAS), LAYOUT.name)
    crops = {folder: _crops_by_person(root / folder, camera_id) for folder, camera_id in _CAMERAS.items()}
    people = list(crops["cam_a"])
    if people != list(crops["cam_b"]):
        alone = sorted(set(people) ^ set(crops["cam_b"]))
        raise IncompleteDatasetError(
            f"{root} is not a complete viper: {len(alone)} person(s) are in only one of cam_a/ and cam_b/: "
            f"{list_briefly(alone)}. Unpack the data set again."
        )
    train_people, test_people = _read_partition(root, request.split // 2, people)
    query_folder, gallery_folder = ("cam_a", "cam_b") if request.split % 2 == 0 else ("cam_b", "cam_a")
    return Dataset(
        name=LAYOUT.name,
        layout=LAYOUT.name,
        root=root,
        train=split_of(crops[folder][person] for folder in _CAMERAS for person in train_people),
        query=split_of(crops[query_folder][person] for person in test_people),
        gallery=split_of(crops[gallery_folder][person] for person in test_people),
        split_index=request.split,
        split_count=LAYOUT.split_count,
        licence=LAYOUT.licence,
        notes=passed_over_in(root, _CAMERAS),
    )


def _crops_by_person(folder: Path, camera_id: int) -> dict[int, Sample]:
    """The one crop of each person in a camera's folder, in sorted order.

    ``001_45.bmp`` shows person 1 from 45 degrees.
    """
    crops: dict[int, Sample] = {}
    for name in image_names(folder):
        found = _NAME.match(name)
        if found is None or int(found.group(1)) in crops:
            raise DataError(
                f"{folder / name} is not the one crop of a person, named like 001_45.bmp. Move it away, or rename it."
            )
        person_id = int(found.group(1))
        crops[person_id] = Sample(folder / name, person_id, camera_id)
    return crops


def _read_partition(root: Path, index: int, people: list[int]) -> tuple[list[int], list[int]]:
    """Look up the train and test people of one partition.

    The file counts crops from 1 in sorted order of their names; the names
    themselves have gaps (000 … 873 for 632 people).
    """
    places = [root / _PARTITION_FILE, root.parent / _PARTITION_FILE]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise IncompleteDatasetError(
            f"{root} is not a complete viper: {_PARTITION_FILE} is missing, there and in the folder above. VIPeR is "
            "scored on fixed partitions, never on fresh random ones: put the file beside cam_a/ (docs/datasets.md)."
        )
    partitions = read_mat(file, "parti")["parti"].ravel()
    try:
        train, test = (np.asarray(partitions[index][name]).ravel().astype(np.int64) for name in ("trnSet", "tstSet"))
    except (IndexError, ValueError, TypeError) as error:
        raise DataError(
            f"{file} holds no partition {index} with trnSet and tstSet ({error}). Is it another file?"
        ) from error
    if sorted([*train, *test]) != list(range(1, len(people) + 1)):
        raise DataError(
            f"Partition {index} of {file} is over {len(train) + len(test)} people, but {root} has {len(people)}. "
            "Unpack VIPeR again: it has 632 people, one crop in each of cam_a/ and cam_b/."
        )
    return [people[i - 1] for i in train], [people[i - 1] for i in test]


LAYOUT = Layout(
    name="viper",
    sentence="VIPeR: 632 people, one crop in each of 2 cameras; 20 splits (10 halves × 2 directions) to average over.",
    expected=f"cam_a/ and cam_b/ with names like 001_45.bmp, and {_PARTITION_FILE} beside them",
    licence="research; its authors state no licence",
    detect=detect,
    read=read,
    split_count=2 * PARTITIONS,
    # Papers count 632 query and gallery crops: both directions together.
    published={"train": Published(632, 316), "query": Published(316, 316), "gallery": Published(316, 316)},
)
