from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from omnireid.data.attribute_sources import load_attributed_crops, read_attributes
from omnireid.data.attributes import tasks_of
from omnireid.data.market_attributes import _YES_IS_TWO, NAMES
from omnireid.errors import DataError


def half(ids: list[str], **columns: list[int]) -> dict[str, Any]:
    """One half of the file: everybody is an adult and has 1 in every other column that is not given."""
    values = {name: [1] * len(ids) for name in _YES_IS_TWO} | {"age": [3] * len(ids)} | columns
    record: dict[str, Any] = {name: np.array(column, dtype=np.uint8) for name, column in values.items()}
    return {**record, "image_index": np.array(ids, dtype=object)}


def write(path: Path, train: dict[str, Any], test: dict[str, Any]) -> Path:
    savemat(path, {"market_attribute": {"test": test, "train": train}})
    return path


def test_two_means_yes_and_the_order_of_columns_does_not_matter(tmp_path: Path) -> None:
    train = half(["0002", "0007"], hat=[1, 2], upred=[2, 1], age=[1, 4])
    test = dict(reversed(half(["0001", "0003"], clothes=[2, 1]).items()))
    read = read_attributes(write(tmp_path / "m.mat", train, test))
    assert read.person_ids is not None
    assert read.person_ids.tolist() == [2, 7, 1, 3]
    had = [{name for name, value in zip(read.names, row, strict=True) if value} for row in read.values]
    assert had == [{"upper=red", "age=young"}, {"hat", "age=old"}, {"trousers", "age=adult"}, {"age=adult"}]


def test_the_columns_are_the_twelve_tasks_of_the_field() -> None:
    tasks = tasks_of(NAMES)
    assert len(NAMES) == 30
    assert len(tasks) == 12
    assert {task: len(columns) for task, columns in tasks.items() if len(columns) > 1} == {
        "upper": 8,
        "lower": 9,
        "age": 4,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(hat=np.array([1, 3])), "column 'hat': .* from 1 to 2 .* found 3 for person 5"),
        (lambda record: record.update(age=np.array([0, 1])), "column 'age': .* from 1 to 4 .* found 0 for person 2"),
        (lambda record: record.update(bag=np.array([1, 1, 1])), "column 'bag': .* found 3 values"),
        (lambda record: record.pop("bag"), "its half 'train' cannot be read"),
        (lambda record: record.update(image_index=np.array(["a", "b"], dtype=object)), "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    train = half(["0002", "0005"])
    change(train)
    with pytest.raises(DataError, match=message):
        read_attributes(write(tmp_path / "m.mat", train, half(["0001", "0003"])))


def test_other_matlab_files_are_named_as_such(tmp_path: Path) -> None:
    savemat(tmp_path / "other.mat", {"duke_attribute": 1})
    with pytest.raises(DataError, match=r"neither Market-1501's attributes .* but duke_attribute"):
        read_attributes(tmp_path / "other.mat")
    (tmp_path / "cut.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"\0" * 40)
    with pytest.raises(DataError, match="is not a readable MATLAB file"):
        read_attributes(tmp_path / "cut.mat")


@pytest.mark.real
def test_the_published_file_has_its_people(shared: Path) -> None:
    read = read_attributes(shared / "data" / "market_attribute.mat")
    share = dict(zip(read.names, read.values.sum(axis=0).tolist(), strict=True))
    assert len(read.values) == 1501
    assert (share["female"], share["hat"], share["lower=purple"], share["age=teenager"]) == (656, 43, 2, 1209)
    market = shared / "data" / "Market-1501-v15.09.15"
    picked = read.pick(load_attributed_crops(read, "test", market))
    assert (len(picked), picked.without) == (13_115, 2_798)
    assert read.pick(load_attributed_crops(read, "train", market)).without == 0
