"""Market-1501, and any set of crops in its layout.

Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
"""

from __future__ import annotations

import re
from pathlib import Path

from omnireid.data.crops import split_of
from omnireid.data.layout import Layout, Published, Request
from omnireid.data.market_names import first_market_name, market_crops, market_splits
from omnireid.data.synthetic_marker import SYNTHETIC_LICENCE, is_synthetic
from omnireid.types import Dataset, Split

_DUKE_NAME = re.compile(r"-?\d+_c\d+_f\d+")
_CUHK03_NP_FOLDERS = ("detected", "labeled")
_LICENCE = "research only; no distribution, no commercial use"


def detect(folder: Path, names: frozenset[str]) -> bool:
    """Recognise Market-1501's folders, unless the names are those of another data set in the same layout."""
    if not names & {"bounding_box_train", "bounding_box_test"} or folder.name in _CUHK03_NP_FOLDERS:
        return False
    return not has_duke_names(folder)


def has_duke_names(folder: Path) -> bool:
    """Whether the crops are named ``0001_c1_f0046182.jpg``, as DukeMTMC-reID's are."""
    return _DUKE_NAME.match(first_market_name(folder)) is not None


def read(root: Path, _request: Request) -> Dataset:
    """Read Market-1501. Junk (-1) is dropped, distractors (0000) stay in the gallery, ``gt_bbox/`` is multi_query."""
    splits, notes = market_splits(root, LAYOUT.name)
    synthetic = is_synthetic(root)
    return Dataset(
        name="synthetic" if synthetic else LAYOUT.name,
        layout=LAYOUT.name,
        root=root,
        train=splits["train"],
        query=splits["query"],
        gallery=splits["gallery"],
        multi_query=_multi_query(root, splits["query"]),
        licence=SYNTHETIC_LICENCE if synthetic else LAYOUT.licence,
        notes=notes,
    )


def _multi_query(root: Path, query: Split) -> Split | None:
    """The hand-drawn boxes of each query's person in the query's camera, or None where there is no ``gt_bbox/``.

    Boxes from a camera without a query of that person are left out: they would become queries that nobody else counts.
    """
    if not (root / "gt_bbox").is_dir():
        return None
    asked = {(sample.person_id, sample.camera_id) for sample in map(query.__getitem__, range(len(query)))}
    crops, _ = market_crops(root / "gt_bbox")
    return split_of(crop for crop in crops if (crop.person_id, crop.camera_id) in asked)


LAYOUT = Layout(
    name="market1501",
    sentence="Market-1501, or any set in its layout: 6 cameras, 751 identities to train, 750 to test.",
    expected="bounding_box_train/, query/ and bounding_box_test/ with names like 0002_c1s1_000451_03.jpg",
    licence=_LICENCE,
    detect=detect,
    read=read,
    published={
        "train": Published(12_936, 751),
        "query": Published(3_368, 750),
        "gallery": Published(15_913, 751),
    },
)
