"""Attributes beside embeddings: a table with a column of scores for each attribute, as Parquet or CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnireid.attributes.head import AttributeHead
from omnireid.embedding.tables import EmbeddingTable, write_embeddings
from omnireid.errors import DataError, OutputError, list_briefly
from omnireid.files import atomic_output, check_output

SUFFIXES = (".parquet", ".csv")


def check_predictions(output: Path, *, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Check, before long work, that predictions can be written to `output` and that no input is lost by it.

    Raises:
        OutputError: The name ends in neither .parquet nor .csv, is an input, or cannot be written.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise OutputError(f"Attributes are written to a .parquet or .csv file; got {output}.")
    check_output(output, inputs=inputs)


def predict_attributes(head: AttributeHead, table: EmbeddingTable) -> EmbeddingTable:
    """The same table with a further column for each attribute: its score in [0, 1]; above 0.5 it is predicted.

    Raises:
        EmbeddingError: The embeddings were made by other weights than the head was trained on.
        DataError: The table has a column of that name already.
    """
    import pyarrow as pa

    taken = [name for name in head.names if name in (*table.columns, "path", "person_id", "camera_id", "embedding")]
    if taken:
        raise DataError(
            f"The table already has a column {list_briefly(taken)}, which is an attribute of the head. Predict on a "
            "table without it."
        )
    scores = head.score(table)
    columns = {**table.columns, **{name: pa.array(scores[:, k]) for k, name in enumerate(head.names)}}
    return replace(table, crops=replace(table.crops, columns=columns))


def write_predictions(table: EmbeddingTable, names: tuple[str, ...], output: Path) -> None:
    """Write a table with predicted attributes.

    Args:
        table: What `predict_attributes` gave.
        names: Names of the attributes.
        output: A ``.parquet`` file gets everything, as `write_embeddings` writes it. A ``.csv`` file gets path,
            person_id, camera_id and the attributes with four decimals, without the embeddings.

    Raises:
        OutputError: The name ends in neither, or the file cannot be written.
    """
    check_predictions(output)
    if output.suffix.lower() == ".parquet":
        write_embeddings(table, output)
        return
    crops = table.crops
    ids = [("person_id", crops.person_ids), ("camera_id", crops.camera_ids)]
    known = [(name, values.tolist()) for name, values in ids if values is not None]
    scores = np.stack([np.asarray(table.columns[name]) for name in names], axis=1)
    with atomic_output(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", *(name for name, _ in known), *names])
        for row, path in enumerate(crops.paths):
            writer.writerow([path, *(values[row] for _, values in known), *(f"{score:.4f}" for score in scores[row])])
