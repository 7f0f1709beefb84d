"""``omnireid doctor``: examine a data set before you trust numbers on it."""

from __future__ import annotations

from pathlib import Path

import tyro

from omnireid.commands.options import OptionalPath


def doctor(
    path: tyro.conf.Positional[Path],
    *,
    layout: str = "auto",
    split_index: int = 0,
    seed: int = 0,
    json: OptionalPath = None,
    fast: bool = False,
) -> None:
    """Say what a data set is, what is wrong with it, and what to do about it.

    The report has the counts for each split and camera, unreadable files, files
    that were passed over, identities seen by one camera only, queries without a
    true match, duplicates between train and test, odd sizes, and differences from
    the published counts. The exit code is 2 if the data set cannot be evaluated.

    Example: omnireid doctor data/Market-1501-v15.09.15

    Args:
        path: The data set's folder, the folder above it, or a manifest (.csv, .parquet).
        layout: What it is; see docs/datasets.md. "auto" looks which layout fits.
        split_index: Which published split to look at, from 0, where there are several (CUHK03 classic, VIPeR, GRID).
        seed: Of the automatic split of data that has none.
        json: Also write the examination to this file.
        fast: Look at names and counts only; do not read the images.
    """
    from omnireid.data.datasets import load_dataset
    from omnireid.data.doctor import examine
    from omnireid.errors import DataError
    from omnireid.files import atomic_output

    examination = examine(load_dataset(path, layout, split=split_index, seed=seed), decode=not fast, progress=True)
    print(examination.table())
    if json is not None:
        with atomic_output(json) as temporary:
            temporary.write_text(examination.json() + "\n", encoding="utf-8")
    if not examination.usable:
        count = sum(finding.severity == "error" for finding in examination.findings)
        raise DataError(f"{path} cannot be evaluated as it is: see the {count} error(s) in the report above.")
