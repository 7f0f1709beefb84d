"""``omnireid doctor``: examine a data set before you trust numbers on it."""

from __future__ import annotations

from pathlib import Path

import tyro

from omnireid.commands.options import JsonOption, check_json, leave_json, text_stream
from omnireid.data.options import DataOptions


def doctor(
    path: tyro.conf.Positional[Path],
    *,
    reading: DataOptions = DataOptions(),
    json: JsonOption = None,
    fast: bool = False,
) -> None:
    """Say what a data set is, what is wrong with it, and what to do about it.

    The report has the counts for each split and camera, unreadable files, files
    that were passed over, identities seen by one camera only, queries without a
    true match, duplicates between train and test, odd sizes, and differences from
    the published counts. The exit code is 2 if the data set cannot be evaluated.

    Example: omnireid doctor data/Market-1501-v15.09.15

    Args:
        path: Folder of the data set, the folder above it, or a manifest (.csv, .parquet).
        reading: How the data set is read.
        fast: Check names and counts only, without reading the images.
    """
    from omnireid.data.datasets import load_dataset
    from omnireid.data.doctor import examine_dataset
    from omnireid.data.listing import input_files
    from omnireid.errors import DataError

    check_json(json, inputs=input_files([path]))
    dataset = load_dataset(path, reading.layout, split=reading.split_index or 0, seed=reading.seed)
    examination = examine_dataset(dataset, decode=not fast, progress=True)
    print(examination.table(), file=text_stream(json))
    leave_json(json, examination.json())
    if not examination.usable:
        count = sum(finding.severity == "error" for finding in examination.findings)
        raise DataError(f"{path} cannot be evaluated as it is: see the {count} error(s) in the report above.")
