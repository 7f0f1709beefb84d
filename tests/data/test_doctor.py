from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data import fabrication
from tests.data.fabrication import draw

from omnireid.data.datasets import load_dataset
from omnireid.data.doctor import examine_dataset, has_true_match
from omnireid.data.examination import Examination, Finding
from omnireid.types import Split


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A folder of three splits with nothing wrong but being one's own."""
    names = ["train/1/a/1.png", "train/1/b/1.png", "query/2/a/1.png", "gallery/2/b/1.png", "gallery/3/a/1.png"]
    for seed, name in enumerate(names):
        draw(tmp_path / name, seed)
    return tmp_path


def findings(root: Path, layout: str = "auto", *, decode: bool = True) -> dict[str, Finding]:
    found = examine_dataset(load_dataset(root, layout), decode=decode).findings
    assert len({finding.check for finding in found if finding.check != "note"}) == len(
        [finding for finding in found if finding.check != "note"]
    )
    assert all(finding.advice.endswith(".") and finding.summary.endswith(".") for finding in found)
    return {finding.check: finding for finding in found}


def test_nothing_is_found_where_nothing_is_wrong(clean: Path) -> None:
    examination = examine_dataset(load_dataset(clean))
    assert examination.findings == ()
    assert examination.usable
    assert "Nothing wrong was found." in examination.table()


def test_counts_by_split_and_camera(clean: Path) -> None:
    examination = examine_dataset(load_dataset(clean), decode=False)
    assert [(split.name, split.images, split.identities, split.images_by_camera) for split in examination.splits] == [
        ("train", 2, 1, {0: 1, 1: 1}),
        ("query", 1, 1, {0: 1}),
        ("gallery", 2, 2, {0: 1, 1: 1}),
    ]
    table = examination.table()
    assert "gallery              2           2        2" in table
    assert "0                      1           1           1" in table
    assert "The files were not read (fast)" in table


def test_unreadable_files_are_errors_that_name_them(clean: Path) -> None:
    (clean / "gallery/3/a/1.png").write_text("no picture")
    (clean / "train/1/a/1.png").write_bytes(b"")
    found = findings(clean)["unreadable"]
    assert (found.severity, found.count) == ("error", 2)
    assert any("gallery/3/a/1.png" in example for example in found.examples)
    assert not examine_dataset(load_dataset(clean)).usable
    assert "unreadable" not in findings(clean, decode=False)


def test_a_file_that_went_away_after_loading_is_unreadable(clean: Path) -> None:
    dataset = load_dataset(clean)
    (clean / "gallery/3/a/1.png").unlink()
    found = {finding.check: finding for finding in examine_dataset(dataset).findings}["unreadable"]
    assert found.examples[0].endswith("1.png: No such file or directory")


def test_queries_without_a_true_match_are_told(clean: Path) -> None:
    draw(clean / "query/2/b/2.png", 10)  # its only match is from its own camera
    found = findings(clean)["queries-without-match"]
    assert (found.severity, found.count, found.examples) == ("warning", 1, ("query/2/b/2.png",))
    assert found.summary.startswith("1 of 2 queries have no true match")


def test_no_true_match_at_all_is_an_error_that_names_ids_and_cameras(clean: Path) -> None:
    (clean / "gallery/2").rename(clean / "gallery/9")
    found = findings(clean)["no-true-match"]
    assert found.severity == "error"
    assert (
        "None of the 1 queries has a true match among 2 gallery crops (query ids: 2; cameras: 0; gallery ids: 3, 9)"
        in (found.summary)
    )


def test_identities_of_one_camera_are_told(clean: Path) -> None:
    draw(clean / "train/5/a/1.png", 10)
    draw(clean / "train/5/a/2.png", 11)
    draw(clean / "query/6/a/1.png", 12)
    draw(clean / "gallery/6/a/1.png", 13)
    examination = examine_dataset(load_dataset(clean))
    found = [finding for finding in examination.findings if finding.check == "single-camera"]
    assert [(finding.severity, finding.count, finding.examples) for finding in found] == [
        ("warning", 1, ("person 6",)),
        ("note", 1, ("person 5",)),
    ]


def test_people_in_train_and_test_are_told(clean: Path) -> None:
    draw(clean / "train/2/a/7.png", 10)
    found = findings(clean)["people-in-train-and-test"]
    assert (found.severity, found.count, found.examples) == ("warning", 1, ("person 2",))
    assert findings(clean)["single-crop"].examples == ("person 2",)


def test_msmt17_numbers_train_and_test_apart(tmp_path: Path) -> None:
    fabrication.msmt17(tmp_path)
    assert "people-in-train-and-test" not in findings(tmp_path, decode=False)


def test_images_both_in_train_and_test_are_told(clean: Path) -> None:
    shutil.copy(clean / "train/1/a/1.png", clean / "gallery/3/a/2.png")
    found = findings(clean)["duplicates-train-test"]
    assert (found.severity, found.count) == ("warning", 1)
    assert found.examples == ("train/1/a/1.png = gallery/3/a/2.png",)
    assert "duplicates-in-test" not in findings(clean)


def test_images_twice_in_test_are_told(clean: Path) -> None:
    shutil.copy(clean / "query/2/a/1.png", clean / "gallery/3/a/2.png")
    found = findings(clean)["duplicates-in-test"]
    assert (found.count, found.examples) == (1, ("query/2/a/1.png = gallery/3/a/2.png",))
    assert "duplicates-train-test" not in findings(clean)


def test_files_of_one_size_but_other_bytes_are_no_duplicates(clean: Path) -> None:
    (clean / "train/1/a/1.bmp").write_bytes(b"")
    draw(clean / "train/1/a/1.bmp", 20)
    draw(clean / "gallery/3/a/1.bmp", 21)
    assert findings(clean) == {}


def test_odd_sizes_are_told(clean: Path) -> None:
    draw(clean / "gallery/3/a/small.png", 10, height=31, width=16)
    draw(clean / "gallery/3/a/wide.png", 11, height=64, width=65)
    draw(clean / "gallery/3/a/right.png", 12, height=32, width=16)
    found = findings(clean)
    assert found["small-crops"].examples == ("gallery/3/a/small.png: 31×16",)
    assert found["landscape-crops"].examples == ("gallery/3/a/wide.png: 64×65",)


def test_published_counts_and_notes_are_findings(tmp_path: Path) -> None:
    found = findings(fabrication.duke(tmp_path), decode=False)
    assert found["published-counts"].severity == "warning"
    assert found["published-counts"].examples[0].startswith("train has 2 images (published: 16,522)")
    assert found["note"].severity == "note"
    assert "withdrawn" in found["note"].summary


def test_data_without_cameras_says_so(tmp_path: Path) -> None:
    draw(tmp_path / "query/1/1.png", 1)
    draw(tmp_path / "gallery/1/1.png", 2)
    draw(tmp_path / "gallery/2/1.png", 3)
    dataset = load_dataset(tmp_path)
    examination = examine_dataset(dataset)
    assert [finding.check for finding in examination.findings] == ["no-cameras"]
    assert "gallery              2           2        –" in examination.table()
    assert "images by camera" not in examination.table()


def test_a_gallery_of_one_identity_is_a_warning(tmp_path: Path) -> None:
    draw(tmp_path / "query/1/1.png", 1)
    draw(tmp_path / "gallery/1/1.png", 2)
    found = findings(tmp_path)
    assert (found["few-identities"].severity, "note" in found) == ("warning", False)
    assert found["few-identities"].summary.startswith("The gallery holds one identity only")


def test_files_that_were_passed_over_are_told(clean: Path) -> None:
    (clean / "gallery/3/a/2.nef").write_bytes(b"")
    (clean / "gallery/3/@eaDir/1.png").mkdir(parents=True)
    summaries = [finding.summary for finding in examine_dataset(load_dataset(clean), decode=False).findings]
    assert summaries == [
        "gallery: 1 picture(s) in formats that are not read were passed over (.nef: 1): 3/a/2.nef. "
        "Convert them to JPEG or PNG.",
        "gallery: 1 folder(s) of thumbnails or system files were passed over: 3/@eaDir.",
    ]


def test_findings_are_sorted_by_severity_and_json_holds_all(clean: Path) -> None:
    (clean / "train/1/a/1.png").write_bytes(b"")
    draw(clean / "train/2/a/7.png", 10)
    examination = examine_dataset(load_dataset(clean))
    assert [finding.severity for finding in examination.findings] == ["error", "warning", "note", "note"]
    stored = json.loads(json.dumps(examination.json()))
    assert stored["usable"] is False
    assert stored["findings"][0]["check"] == "unreadable"
    assert stored["splits"][0] == {"name": "train", "images": 3, "identities": 2, "images_by_camera": {"0": 2, "1": 1}}
    assert isinstance(examination, Examination)


def test_a_split_of_several_is_named(tmp_path: Path) -> None:
    root = fabrication.viper(tmp_path, (1, 2, 3, 4), [((1, 2), (3, 4))] * 10)
    assert "(layout viper, split 3 of 20)" in examine_dataset(load_dataset(root, split=3), decode=False).table()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12),
    st.booleans(),
)
def test_a_true_match_is_the_same_person_in_another_camera(
    query: list[tuple[int, int]], gallery: list[tuple[int, int]], cameras: bool
) -> None:
    def split(pairs: list[tuple[int, int]]) -> Split:
        people, seen_by = np.array(pairs).T
        return Split(tuple(Path(str(i)) for i in range(len(pairs))), people, seen_by if cameras else None)

    found = has_true_match(split(query), split(gallery), "single-query" if cameras else "no-cameras")
    expected = [any(p == q and (not cameras or c != k) for p, c in gallery) for q, k in query]
    assert found.tolist() == expected


@pytest.mark.real
def test_nothing_is_wrong_with_the_real_market1501(shared: Path) -> None:
    examination = examine_dataset(load_dataset(shared / "data" / "Market-1501-v15.09.15"))
    assert examination.findings == ()
    assert examination.decoded
