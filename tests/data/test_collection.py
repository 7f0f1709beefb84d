from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data import fabrication

from omnireid.data.collection import name_apart, refuse_repeated
from omnireid.data.datasets import load_dataset
from omnireid.errors import DataError


@pytest.fixture
def market(tmp_path: Path) -> Path:
    return fabrication.market(tmp_path / "market")


def test_crops_of_other_people_in_a_published_layout_go_by_their_folder(market: Path) -> None:
    dataset = load_dataset(market)
    assert dataset.name == "market1501"
    assert name_apart([dataset]) == ("market",)
    drawn = replace(dataset, name="synthetic")  # a name of its own promises nothing
    assert name_apart([drawn]) == ("synthetic",)


def test_equal_names_are_told_apart_by_the_folder_then_by_the_whole_path(market: Path, tmp_path: Path) -> None:
    drawn = replace(load_dataset(market), name="synthetic")
    others = [replace(drawn, root=tmp_path / name) for name in ("a", "b", "deep/b")]
    assert name_apart([drawn, others[0]]) == ("synthetic (market)", "synthetic (a)")
    assert name_apart(others) == (
        "synthetic (a)",
        f"synthetic ({tmp_path / 'b'})",
        f"synthetic ({tmp_path / 'deep/b'})",
    )


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_one_data_set_under_two_paths_is_refused(market: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(market, target_is_directory=True)
    for again in (market, market / ".." / "market", tmp_path / "link"):
        with pytest.raises(DataError, match=r"was given twice.* Give each data set once: it would count twice\."):
            refuse_repeated([load_dataset(market), load_dataset(again)], "it would count twice.")


def test_a_folder_and_the_manifest_in_it_are_one_data_set(tmp_path: Path) -> None:
    rows = [("a.jpg", 1, 1, "query"), ("b.jpg", 1, 2, "gallery"), ("c.jpg", 2, 2, "gallery")]
    fabrication.touch(tmp_path / "own", [row[0] for row in rows])
    header = ("path", "person_id", "camera_id", "split")
    file = fabrication.write_csv(tmp_path / "own" / "manifest.csv", header, rows)
    with pytest.raises(DataError, match=r"manifest\.csv was given twice: .*own is the same"):
        refuse_repeated([load_dataset(file.parent), load_dataset(file)], "")
    other = shutil.copy(file, file.with_name("other.csv"))
    refuse_repeated([load_dataset(file), load_dataset(other)], "")
