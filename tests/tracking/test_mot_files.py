"""MOTChallenge's files: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnireid.errors import DataNotFoundError, TrackingError
from omnireid.tracking.mot_files import (
    NO_IDENTITY,
    MotTable,
    SequenceInfo,
    check_image_size,
    read_detections,
    read_sequence_info,
    read_tracks,
    write_ground_truth,
    write_results,
    write_sequence_info,
)

TRACKS = "1,3,10,20,30,40,1,-1,-1,-1\n2,3,12,20,30,40,0.5,-1,-1,-1\n2,4,100.5,7,20,60.25,0,-1,-1,-1\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "file.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_frames_count_from_zero_inside_and_boxes_have_right_and_bottom(tmp_path: Path) -> None:
    table = read_tracks(written(tmp_path, TRACKS))
    assert table.frames.tolist() == [0, 1, 1]
    assert table.identities.tolist() == [3, 3, 4]
    assert table.boxes.tolist() == [[10, 20, 40, 60], [12, 20, 42, 60], [100.5, 7, 120.5, 67.25]]
    assert table.confidences.tolist() == [1, 0.5, 0]
    assert table.visibilities.tolist() == [1, 1, 1]
    assert table.notes == ()


@pytest.mark.parametrize("write", [write_results, write_ground_truth])
def test_what_was_written_is_read_again(tmp_path: Path, write: object) -> None:
    table = MotTable(
        np.array([0, 0, 6]),
        np.array([2, 9, 2]),
        np.array([[-3.25, 4, 10, 30.5], [0, 0, 1, 1], [5, 5, 6, 7]]),
        np.array([1.0, 0, 1]),
        np.array([1, 1, 1]),
        np.array([1, 0.125, 1]) if write is write_ground_truth else np.ones(3),
    )
    file = tmp_path / "new" / "tracks.txt"
    write(file, table)  # type: ignore[operator]
    again = read_tracks(file)
    for name in ("frames", "identities", "boxes", "confidences", "classes", "visibilities"):
        assert getattr(again, name).tolist() == getattr(table, name).tolist(), name
    assert file.read_text().startswith("1,2,-3.25,4.00,13.25,26.50,1,")


def test_lines_in_the_wrong_order_are_sorted_and_that_is_said(tmp_path: Path) -> None:
    lines = TRACKS.splitlines()
    table = read_tracks(written(tmp_path, "\n".join(reversed(lines))))
    assert table.frames.tolist() == [0, 1, 1]
    assert table.identities.tolist() == [3, 4, 3]
    assert "were not in the order of frames" in table.notes[0]


def test_spaces_byte_order_mark_and_empty_lines_are_read(tmp_path: Path) -> None:
    table = read_tracks(written(tmp_path, "\ufeff1 7 1 2 3 4\n\n  2 7 1 2 3 4 0.5\n"))
    assert table.frames.tolist() == [0, 1]
    assert table.confidences.tolist() == [1, 0.5]


def test_nine_columns_are_class_and_visibility(tmp_path: Path) -> None:
    table = read_tracks(written(tmp_path, "1,1,1,2,3,4,1,7,0.25\n"))
    assert table.classes.tolist() == [7]
    assert table.visibilities.tolist() == [0.25]


def test_detections_lose_their_identities_and_are_grouped_by_frame(tmp_path: Path) -> None:
    table = read_detections(written(tmp_path, TRACKS))
    assert set(table.identities.tolist()) == {NO_IDENTITY}
    found = table.detections()
    assert list(found) == [0, 1]
    assert found[1].boxes.tolist() == [[12, 20, 42, 60], [100.5, 7, 120.5, 67.25]]
    assert found[1].scores.tolist() == [0.5, 0]


@pytest.mark.parametrize(
    ("confidences", "scores", "note"),
    [
        ((0.1, 0.9), (0.1, 0.9), None),
        ((-1, -1), (1, 1), "All confidences are -1"),
        ((-2, 6, 2), (0, 1, 0.5), "from -2 to 6 were scaled"),
        ((20, 100), (0, 1), "from 20 to 100 were scaled"),
    ],
)
def test_confidences_of_any_range_become_scores_by_a_stated_rule(
    tmp_path: Path, confidences: tuple[float, ...], scores: tuple[float, ...], note: str | None
) -> None:
    lines = [f"1,-1,{place},0,5,5,{value},-1,-1,-1" for place, value in enumerate(confidences)]
    table = read_detections(written(tmp_path, "\n".join(lines)))
    np.testing.assert_allclose(table.detections()[0].scores, scores)
    assert (note is None and not table.notes) or (note is not None and note in table.notes[0])


def test_a_file_without_lines_is_a_recording_without_people(tmp_path: Path) -> None:
    table = read_detections(written(tmp_path, "\n"))
    assert len(table) == 0
    assert table.detections() == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,2,3,4", "a line needs at least"),
        ("1,1,2,3,nan,5", "line 2: width must be a finite number; found 'nan'"),
        ("1,1,2,3,4,5,inf", "confidence must be a finite number"),
        ("1,1,,3,4,5", "left must be a finite number; found ''"),
        ("1,1,2,3,4,5,1,1,x", "column 9 must be a finite number"),
        ("0,1,2,3,4,5", "whole numbers from 1; found 0"),
        ("1.5,1,2,3,4,5", "whole numbers from 1; found 1.5"),
        ("1,1.5,2,3,4,5", "an identity is a whole number"),
        ("1,1,2,3,0,5", "above 0; found 0 x 5"),
        ("1,1,2,3,4,-5", "above 0; found 4 x -5"),
        ("1,-1,2,3,4,5", "line 2: the identity is -1"),
        ("1,7,2,3,4,5", "line 2: identity 7 has two boxes in frame 1; the other is in line 1"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(TrackingError, match=message):
        read_tracks(written(tmp_path, f"1,7,1,1,2,2,1\n{line}\n"))


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"no file .*gone\.txt"):
        read_tracks(tmp_path / "gone.txt")
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(TrackingError, match="Cannot read .* as text"):
        read_tracks(tmp_path / "picture")


def test_boxes_of_another_image_size_are_refused(tmp_path: Path) -> None:
    table = read_tracks(written(tmp_path, TRACKS))
    check_image_size(table, 160, 80, tmp_path)
    with pytest.raises(TrackingError, match="33% of the boxes .* made for another image size"):
        check_image_size(table, 80, 80, tmp_path)
    check_image_size(table.select(table.frames < 0), 1, 1, tmp_path)


def test_a_sequence_is_described_and_read_again(tmp_path: Path) -> None:
    info = SequenceInfo("camera-1", 750, 12.5, 640, 360)
    write_sequence_info(tmp_path / "seqinfo.ini", info)
    assert read_sequence_info(tmp_path / "seqinfo.ini") == info
    write_sequence_info(tmp_path / "seqinfo.ini", replace(info, frame_rate=None, width=None, height=None))
    assert read_sequence_info(tmp_path / "seqinfo.ini") == SequenceInfo("camera-1", 750)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seqLength=3\n", "is no seqinfo.ini"),
        ("[Other]\nseqLength=3\n", r"no section \[Sequence\]"),
        ("[Sequence]\nname=x\n", "does not state seqLength"),
        ("[Sequence]\nseqLength=many\n", "seqLength must be a number above 0; found 'many'"),
        ("[Sequence]\nseqLength=2.5\n", "seqLength must be a whole number"),
        ("[Sequence]\nseqLength=3\nframeRate=0\n", "frameRate must be a number above 0"),
    ],
)
def test_a_bad_seqinfo_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(TrackingError, match=message):
        read_sequence_info(file)


@pytest.mark.real
def test_the_public_sequences_are_read(shared: Path) -> None:
    folder = shared / "data" / "tracking"
    for sequence in sorted(path.parent for path in folder.glob("*/seqinfo.ini")):
        info = read_sequence_info(sequence / "seqinfo.ini")
        truth, found = read_tracks(sequence / "gt" / "gt.txt"), read_detections(sequence / "det" / "det.txt")
        assert truth.frames.max() < info.frames
        assert info.width is not None
        assert info.height is not None
        check_image_size(found, info.width, info.height, sequence)
        assert not found.notes
