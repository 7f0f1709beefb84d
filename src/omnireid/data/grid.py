"""QMUL GRID (underground_reid), with 10 official splits and 775 distractors.

Source: Loy et al., "Multi-Camera Activity Correlation Analysis", CVPR 2009.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from omnireid.data.crops import first_image_name, image_names, passed_over_in, require_folders, split_of
from omnireid.data.layout import Layout, Published, Request
from omnireid.data.matlab import read_mat
from omnireid.errors import DataError, IncompleteDatasetError, list_briefly
from omnireid.types import Dataset, Sample

_SPLIT_FILE = "features_and_partitions.mat"
_NAME = re.compile(r"(\d{1,9})_(\d{1,9})_")
_OWN_NAME = re.compile(r"\d{4}_\d(_\d+){5}\.")


def detect(folder: Path, names: frozenset[str]) -> bool:
    """Recognise GRID's probe folder together with its split file or its file names.

    The folder alone is not enough: your own data may have a probe folder too.
    """
    if "probe" not in names:
        return False
    return _SPLIT_FILE in names or _OWN_NAME.match(first_image_name(folder / "probe")) is not None


def read(root: Path, request: Request) -> Dataset:
    """Read one of the 10 splits. Training people give both their crops; the others are probe against gallery.

    Person 0 stands for the 775 distractors, which stay in the gallery of every split.
    """
    require_folders(root, ("probe", "gallery"), LAYOUT.name)
    if not (root / _SPLIT_FILE).is_file():
        raise IncompleteDatasetError(
            f"{root} is not a complete grid: {_SPLIT_FILE} is missing. It comes in the data set's archive and holds "
            "the 10 official splits; put it beside probe/ and gallery/."
        )
    probe, gallery = _read_crops(root / "probe"), _read_crops(root / "gallery")
    learned = _read_train_people(root / _SPLIT_FILE, request.split, {crop.person_id for crop in probe})
    return Dataset(
        name=LAYOUT.name,
        layout=LAYOUT.name,
        root=root,
        train=split_of(crop for crop in probe + gallery if crop.person_id in learned),
        query=split_of(crop for crop in probe if crop.person_id not in learned),
        gallery=split_of(crop for crop in gallery if crop.person_id not in learned),
        split_index=request.split,
        split_count=LAYOUT.split_count,
        licence=LAYOUT.licence,
        notes=passed_over_in(root, ("probe", "gallery")),
    )


def _read_crops(folder: Path) -> list[Sample]:
    """The crops of a folder. ``0001_1_25004_107_32_106_221.jpeg`` shows person 1 in camera 1."""
    found = [(name, _NAME.match(name)) for name in image_names(folder)]
    strange = [name for name, match in found if match is None]
    if strange:
        raise DataError(
            f"{len(strange):,} image file(s) in {folder} are not named like 0001_1_25004_107_32_106_221.jpeg "
            f"(person, then camera): {list_briefly(strange)}. Rename them or move them away."
        )
    return [Sample(folder / name, int(match.group(1)), int(match.group(2))) for name, match in found if match]


def _read_train_people(file: Path, index: int, people: set[int]) -> set[int]:
    """Look up the training people of one split.

    ``trainIdxAll`` holds a cell for each split; the third field of the struct in it lists the people.
    """
    splits = np.ravel(read_mat(file, "trainIdxAll")["trainIdxAll"])
    try:
        learned = {int(person) for person in np.ravel(splits[index][0][0][2][0])}
    except (IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"trainIdxAll in {file} holds no split {index} as GRID's does ({error}). Is it another file?"
        ) from error
    if not learned < people:
        raise DataError(
            f"Split {index} of {file} trains on people without a crop in probe/: "
            f"{list_briefly(sorted(learned - people)) or 'all'}. Unpack the data set again."
        )
    return learned


LAYOUT = Layout(
    name="grid",
    sentence="QMUL GRID (underground_reid): 250 people in 8 cameras and 775 distractors; 10 splits to average over.",
    expected=f"probe/ and gallery/ with names like 0001_1_25004_107_32_106_221.jpeg, and {_SPLIT_FILE}",
    licence="research; its authors state no licence",
    detect=detect,
    read=read,
    split_count=10,
    # Papers count 900 gallery identities: 125 people and each of the 775 distractors, which share id 0 here.
    published={"train": Published(250, 125), "query": Published(125, 125), "gallery": Published(900, 126)},
)
