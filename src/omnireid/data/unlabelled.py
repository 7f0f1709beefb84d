"""Crops of unknown people, beside the labelled ones: a teacher can explain them all the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnireid.data.folders import real_places
from omnireid.data.listing import list_crops
from omnireid.data.training_data import NO_IDENTITY, TrainingData
from omnireid.errors import DataError, list_briefly


def add_unlabelled(data: TrainingData, names: Sequence[Path], *, scored_on: Sequence[Path] = ()) -> TrainingData:
    """Append crops without an identity to the data of a run.

    A file that is among the labelled crops already is left out: its teacher's embedding is learned there.

    Args:
        data: Labelled crops.
        names: Folders with everything below them, single files, or one manifest.
        scored_on: Crops that the run is scored on. None of them may be learned from.

    Returns:
        The data with the further crops at its end, whose identity is `NO_IDENTITY`. Their cameras are not known, so
        the result has none. Names and roots of the folders are appended too, and the terms say that theirs are
        unknown.

    Raises:
        DataError: A crop is one that the run is scored on, or all of them are labelled already.
        DataNotFoundError: There is nothing of that name, or no image in it.
    """
    found = list_crops([str(name) for name in names]).paths
    places = [os.path.join(*place) for place in real_places(found)]  # noqa: PTH118
    scored = {os.path.join(*place) for place in real_places(scored_on)}  # noqa: PTH118
    shared = [place for place in places if place in scored]
    if shared:
        raise DataError(
            f"{len(shared):,} unlabelled crop(s) belong to the data that the run is scored on: {list_briefly(shared)}. "
            "Scores of crops that were learned from say nothing. Leave them out, or score on other data."
        )
    known = {os.path.join(*place) for place in real_places(data.paths)}  # noqa: PTH118
    further = [path for path, place in zip(found, places, strict=True) if place not in known]
    if not further:
        raise DataError("All unlabelled crops are among the labelled ones already. Leave --unlabelled out.")
    further_names = [name.name for name in names]
    return replace(
        data,
        paths=(*data.paths, *further),
        identities=np.concatenate([data.identities, np.full(len(further), NO_IDENTITY, dtype=np.int64)]),
        cameras=None,
        names=(*data.names, *further_names),
        titles=(*(data.titles or data.names), *further_names),
        licence=f"{data.licence}; unlabelled crops: unknown",
        roots=(*data.roots, *(name.parent if name.is_file() else name for name in names)),
    )
