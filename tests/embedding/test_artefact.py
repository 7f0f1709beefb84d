from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from omnireid.embedding.artefact import WeightsMetadata, read_artefact, read_metadata, sha256_of_tensors, write_artefact
from omnireid.errors import CheckpointError, WeightsNotFoundError
from omnireid.images.preprocess import Preprocessing

TENSORS: dict[str, npt.NDArray[np.generic]] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1, 2], dtype=np.float16),
    "counter": np.array(7, dtype=np.int64),
}
METADATA = WeightsMetadata(
    "osnet_x0_25",
    preprocessing=Preprocessing(height=128, width=64, mean=(0.5, 0.5, 0.5)),
    distance="cosine",
    training_data="drawn people",
    licence="Apache-2.0",
    metrics={"synthetic.rank1": 0.5},
    origin="w.pth",
)


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_artefact(path, TENSORS, METADATA)
    tensors, metadata = read_artefact(path)
    assert metadata == read_metadata(path) == METADATA
    assert {name: (array.dtype, array.shape, array.tolist()) for name, array in tensors.items()} == {
        name: (array.dtype, array.shape, array.tolist()) for name, array in TENSORS.items()
    }


def test_the_same_weights_make_the_same_file(tmp_path: Path) -> None:
    write_artefact(tmp_path / "a.safetensors", TENSORS, METADATA)
    write_artefact(tmp_path / "b.safetensors", dict(reversed(TENSORS.items())), METADATA)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_checksum_sees_name_type_shape_and_value() -> None:
    one: dict[str, npt.NDArray[np.generic]] = {"a": np.zeros(4, np.float32)}
    others: list[dict[str, npt.NDArray[np.generic]]] = [
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros(8, np.float16)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.ones(4, np.float32)},
    ]
    assert len({sha256_of_tensors(tensors) for tensors in [one, *others]}) == 5


def rewrite(path: Path, tensors: dict[str, Any], **changes: object) -> None:
    record = {"format_version": 1, "tensors_sha256": sha256_of_tensors(TENSORS), **METADATA.json(), **changes}
    save_file(tensors, path, metadata={"omnireid": json.dumps(record)})


def test_altered_weights_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    rewrite(path, {**TENSORS, "b": np.array([1, 3], dtype=np.float16)})
    with pytest.raises(CheckpointError, match="not those it was written with.*altered or damaged"):
        read_artefact(path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    rewrite(path, TENSORS, format_version=2)
    with pytest.raises(CheckpointError, match=r"written by a newer omnireid \(format 2.*pip install --upgrade"):
        read_metadata(path)


@pytest.mark.parametrize(
    "changes",
    [{"distance": "manhattan"}, {"preprocessing": {"height": -1}}, {"preprocessing": 3}, {"embedding_dimension": 0}],
)
def test_metadata_that_makes_no_sense(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "w.safetensors"
    rewrite(path, TENSORS, **changes)
    with pytest.raises(CheckpointError, match=r"metadata of .*w\.safetensors cannot be used"):
        read_metadata(path)


def test_files_that_are_no_artefact(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="No such file of weights"):
        read_metadata(tmp_path / "gone.safetensors")
    path = tmp_path / "w.safetensors"
    path.write_text("text")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_metadata(path)
    save_file(TENSORS, path)
    with pytest.raises(CheckpointError, match="without omnireid's metadata.*omnireid convert"):
        read_metadata(path)
    write_artefact(path, TENSORS, METADATA)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"not a whole safetensors file.*cut short"):
        read_artefact(path)
