from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from omnireid.errors import CheckpointError, WeightsNotFoundError
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import (
    WeightsMetadata,
    halve,
    read_artefact,
    read_metadata,
    sha256_of_tensors,
    write_artefact,
)

TENSORS: dict[str, npt.NDArray[np.generic]] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1, 2], dtype=np.float16),
    "counter": np.array(7, dtype=np.int64),
}
METADATA = WeightsMetadata(
    "osnet_x0_25",
    embedding_dimension=512,
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


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-65504, 65504, width=32), max_size=8))
def test_halves_are_near_and_never_denormal(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    halved = halve({"w": array})["w"]
    assert halved.dtype == np.float16
    for value, half in zip(array.tolist(), halved.tolist(), strict=True):
        if half == 0:
            assert abs(value) < 2**-14
        else:
            assert abs(half) >= 2**-14
            assert abs(half - value) <= 2**-11 * abs(value)


def test_what_is_not_halved(tmp_path: Path) -> None:
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "norm.running_mean": np.array([1e-6, 2.0]),
        "norm.running_var": np.array([1e-6, 1e5], dtype=np.float32),
        "norm.num_batches_tracked": np.array(7, dtype=np.int64),
        "norm.weight": np.array([3e-5, 1.0], dtype=np.float16),
        "norm.bias": np.array(0.25),
    }
    before = {name: array.copy() for name, array in tensors.items()}
    halved = halve(tensors)
    assert {name: array.dtype for name, array in halved.items()} == {
        "norm.running_mean": np.float32,
        "norm.running_var": np.float32,
        "norm.num_batches_tracked": np.int64,
        "norm.weight": np.float16,
        "norm.bias": np.float16,
    }
    assert halved["norm.running_var"].tolist() == tensors["norm.running_var"].tolist()
    assert halved["norm.weight"].tolist() == [0.0, 1.0]
    assert halved["norm.bias"].shape == ()
    assert all(np.array_equal(before[name], tensors[name]) for name in tensors)
    assert not any(np.shares_memory(halved[name], tensors[name]) for name in tensors)
    again = halve(halved)
    assert all(np.array_equal(again[name], halved[name]) for name in halved)
    write_artefact(tmp_path / "w.safetensors", halved, METADATA)
    read, _ = read_artefact(tmp_path / "w.safetensors")
    assert {name: (array.dtype, array.shape, array.tolist()) for name, array in read.items()} == {
        name: (array.dtype, array.shape, array.tolist()) for name, array in halved.items()
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("fc.weight", 65520.0, r"fc\.weight has 1 values of 2 that float16 cannot hold, such as 65520 .*65,504\)"),
        ("fc.weight", -1e30, r"such as -1e\+30"),
        ("fc.weight", float("nan"), "such as nan"),
        ("fc.running_var", float("inf"), r"fc\.running_var has 1 values of 2 that float32 cannot hold, such as inf"),
    ],
)
def test_values_that_halves_cannot_hold(name: str, value: float, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        halve({name: np.array([1.0, value])})
