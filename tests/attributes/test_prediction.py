from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.attributes.tables import NAMES, make_data

from omnireid.attributes.fitting import fit_attribute_head
from omnireid.attributes.head import AttributeHead
from omnireid.attributes.prediction import predict_attributes, write_predictions
from omnireid.embedding.tables import read_embeddings
from omnireid.errors import DataError, OutputError
from omnireid.types import Crops


@pytest.fixture(scope="module")
def head() -> AttributeHead:
    return fit_attribute_head(make_data())


def test_parquet_keeps_the_embeddings_and_gets_a_column_for_each_attribute(tmp_path: Path, head: AttributeHead) -> None:
    table = make_data().table
    write_predictions(predict_attributes(head, table), head.names, tmp_path / "out.parquet")
    again = read_embeddings(tmp_path / "out.parquet")
    assert np.array_equal(again.embeddings, table.embeddings)
    assert again.provenance == table.provenance
    assert tuple(again.columns) == NAMES
    for k, name in enumerate(NAMES):
        assert np.array_equal(np.asarray(again.columns[name]), head.score(table)[:, k])


def test_csv_has_paths_ids_and_scores(tmp_path: Path, head: AttributeHead) -> None:
    table = make_data().table
    write_predictions(predict_attributes(head, table), head.names, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["path", "person_id", *NAMES]
    assert rows[4][:2] == ["3.jpg", "1"]
    assert [float(value) for value in rows[4][2:]] == pytest.approx(head.score(table)[3].tolist(), abs=1e-4)
    nobody = replace(table, crops=Crops(table.paths))
    write_predictions(predict_attributes(head, nobody), head.names, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("path,hat,")


def test_a_taken_column_and_another_suffix_are_refused(tmp_path: Path, head: AttributeHead) -> None:
    table = make_data().table
    taken = replace(table, crops=replace(table.crops, columns={"hat": [1] * len(table)}))
    with pytest.raises(DataError, match="already has a column hat"):
        predict_attributes(head, taken)
    with pytest.raises(OutputError, match=r"a .parquet or .csv file; got .*out.json"):
        write_predictions(predict_attributes(head, table), head.names, tmp_path / "out.json")
