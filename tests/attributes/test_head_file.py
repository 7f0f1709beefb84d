from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.attributes.tables import make_data, provenance

from omnireid.attributes.fitting import fit_attribute_head
from omnireid.attributes.head import AttributeHead
from omnireid.attributes.head_file import HEAD_KEY, read_attribute_head, write_attribute_head
from omnireid.errors import CheckpointError, EmbeddingError, ShapeError, WeightsNotFoundError
from omnireid.weights.artefact import read_metadata


@pytest.fixture(scope="module")
def head() -> AttributeHead:
    return fit_attribute_head(make_data())


def test_a_head_reads_back_as_it_was_written(tmp_path: Path, head: AttributeHead) -> None:
    write_attribute_head(head, tmp_path / "head.safetensors")
    again = read_attribute_head(tmp_path / "head.safetensors")
    assert (again.names, again.record) == (head.names, head.record)
    assert np.array_equal(again.score(make_data().table), head.score(make_data().table))
    assert np.array_equal(again.majority, head.majority)


def test_weights_and_heads_are_not_taken_for_each_other(tmp_path: Path, head: AttributeHead, untrained: Path) -> None:
    write_attribute_head(head, tmp_path / "head.safetensors")
    with pytest.raises(CheckpointError, match="without omnireid's metadata"):
        read_metadata(tmp_path / "head.safetensors")
    with pytest.raises(CheckpointError, match="is no attribute head but weights"):
        read_attribute_head(untrained)


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """Change record and tensors of a head's file."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        record = json.loads(opened.metadata()[HEAD_KEY])
    tensors = load_file(path)
    change(record, tensors)
    save_file(tensors, path, metadata={HEAD_KEY: json.dumps(record)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, tensors: tensors.update(biases=tensors["biases"] + 1), "are not those it was written with"),
        (lambda record, _: record.update(format_version=2), "written by a newer omnireid"),
        (lambda record, _: record.pop("licence"), "The record of .* is damaged"),
        (lambda record, _: record["names"].pop(), "The record of .* is damaged"),
        (lambda _, tensors: tensors.pop("weights"), "are not those it was written with"),
    ],
)
def test_an_altered_head_is_refused(
    tmp_path: Path, head: AttributeHead, change: Callable[[dict[str, Any], dict[str, Any]], object], message: str
) -> None:
    path = tmp_path / "head.safetensors"
    write_attribute_head(head, path)
    rewrite(path, change)
    with pytest.raises(CheckpointError, match=message):
        read_attribute_head(path)


def test_absent_and_truncated_files_are_refused(tmp_path: Path, head: AttributeHead) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(WeightsNotFoundError, match="omnireid attributes train"):
        read_attribute_head(path)
    write_attribute_head(head, path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_attribute_head(path)
    save_file({"x": np.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="a safetensors file without a head's record"):
        read_attribute_head(path)


def test_arrays_that_form_no_head_are_refused(head: AttributeHead) -> None:
    with pytest.raises(ShapeError, match=r"A head of 3 attributes needs weights \(D, 3\)"):
        AttributeHead(head.names, head.weights.T, head.biases, head.positive_shares, head.record)
    with pytest.raises(ShapeError, match="The biases of a head must be finite"):
        AttributeHead(head.names, head.weights, head.biases * np.nan, head.positive_shares, head.record)


def test_embeddings_of_another_width_are_refused(head: AttributeHead) -> None:
    table = replace(make_data().table, embeddings=np.zeros((120, 7), dtype=np.float32), provenance=provenance())
    with pytest.raises(EmbeddingError, match="takes embeddings of 6 values; the embeddings have 7"):
        head.score(table)
