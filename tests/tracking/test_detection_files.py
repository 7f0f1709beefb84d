from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnireid.errors import DataNotFoundError, TrackingError
from omnireid.tracking.detection_files import (
    check_belongs_to_video,
    detections_of_supervision,
    read_detection_table,
    read_detections_of_video,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import supervision as sv

COLUMNS = {
    "frame": [0, 0, 4],
    "left": [1.5, 30.0, 2.0],
    "top": [2.0, 3.0, 4.0],
    "right": [11.5, 50.0, 12.0],
    "bottom": [22.0, 43.0, 44.0],
    "score": [0.9, 0.25, 1.0],
}


def written(path: Path, **columns: Any) -> Path:
    kept = {name: values for name, values in {**COLUMNS, **columns}.items() if values is not None}
    pq.write_table(pa.table(kept), path)
    return path


def test_a_table_has_its_boxes_as_edges_or_as_lists(tmp_path: Path) -> None:
    by_frame = read_detection_table(written(tmp_path / "a.parquet")).detections()
    assert list(by_frame) == [0, 4]
    assert by_frame[0].boxes.tolist() == [[1.5, 2, 11.5, 22], [30, 3, 50, 43]]
    assert by_frame[0].scores.tolist() == [np.float32(0.9), 0.25]
    boxes = [[1.5, 2, 11.5, 22], [30, 3, 50, 43], [2, 4, 12, 44]]
    edges = dict.fromkeys(("left", "top", "right", "bottom", "score"))
    listed = read_detection_table(written(tmp_path / "b.parquet", box_xyxy=boxes, **edges)).detections()
    assert all(np.array_equal(listed[frame].boxes, by_frame[frame].boxes) for frame in by_frame)
    assert listed[4].scores.tolist() == [1]


def test_rows_out_of_order_are_sorted_and_noted(tmp_path: Path) -> None:
    table = read_detection_table(written(tmp_path / "a.parquet", frame=[4, 0, 2]))
    assert table.frames.tolist() == [0, 2, 4]
    assert table.boxes[:, 0].tolist() == [30, 2, 1.5]
    assert table.notes == (f"{tmp_path / 'a.parquet'}: The rows were not in the order of frames.",)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"left": [1.0, float("nan"), 2.0]}, "Row 1 of .*: left must be a finite number; found nan"),
        ({"left": [1.0, None, 2.0]}, "Row 1 of .*: left must be a finite number; found nan"),
        ({"left": ["1", "b", "c"]}, "column 'left' of .* does not hold numbers"),
        ({"right": [11.5, 30.0, 12.0]}, "Box 1 of .* has no area"),
        ({"bottom": [22.0, 43.0, -4.0]}, "Box 2 of .* has no area"),
        ({"frame": [0, -1, 4]}, "Row 1 of .*: a frame is a whole number, counted from 0; found -1"),
        ({"frame": [0, 1.5, 4]}, "found 1.5"),
        ({"frame": None}, "has no column 'frame'; it has left, top, right, bottom, score"),
        ({"top": None}, "has no column 'top'"),
        (
            {"box_xyxy": [[1, 2, 3, 4], [1, 2, 3], None]},
            r"Row 1 of .*: box_xyxy must be four numbers; found \[1, 2, 3\]",
        ),
    ],
)
def test_a_bad_table_is_named_by_its_row(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(TrackingError, match=message):
        read_detection_table(written(tmp_path / "a.parquet", **columns))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="There is no file"):
        read_detections_of_video(tmp_path / "no.parquet")
    (tmp_path / "text.parquet").write_text("1,-1,2,3,4,5,1")
    with pytest.raises(TrackingError, match="cannot be read as Parquet"):
        read_detections_of_video(tmp_path / "text.parquet")


def test_text_and_table_of_the_same_boxes_are_the_same(tmp_path: Path) -> None:
    lines = ["1,-1,1.5,2,10,20,0.9,-1,-1,-1", "1,-1,30,3,20,40,0.25,-1,-1,-1", "5,-1,2,4,10,40,1,-1,-1,-1"]
    (tmp_path / "det.txt").write_text("\n".join(lines))
    text = read_detections_of_video(tmp_path / "det.txt")
    table = read_detections_of_video(written(tmp_path / "a.parquet"))
    for name in ("frames", "identities", "boxes", "confidences"):
        assert np.array_equal(getattr(text, name), getattr(table, name)), name


def test_detections_of_another_video_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet")
    table = read_detection_table(path)
    check_belongs_to_video(table, path, width=60, height=50, frame_count=5)
    check_belongs_to_video(table, path, width=60, height=50)
    with pytest.raises(TrackingError, match="that the video does not have: 4, counted from 0; the video has 4 frames"):
        check_belongs_to_video(table, path, width=60, height=50, frame_count=4)
    with pytest.raises(TrackingError, match="lie outside the frame of 30 x 50 pixels; they reach to 50 x 44"):
        check_belongs_to_video(table, path, width=30, height=50, frame_count=5)


def test_detections_of_supervision_are_taken_over() -> None:
    boxes = np.array([[1, 2, 11, 22], [30, 3, 50, 43]], dtype=np.float32)
    given = sv.Detections(boxes, confidence=np.array([0.5, 0.75]), class_id=np.array([2, 0]))
    found = detections_of_supervision(given, 7)
    assert (found.frame, found.boxes.tolist(), found.scores.tolist()) == (7, boxes.tolist(), [0.5, 0.75])
    person = detections_of_supervision(given, 7, person_class=0)
    assert person.boxes.tolist() == [[30, 3, 50, 43]]
    assert len(detections_of_supervision(sv.Detections.empty(), 0, person_class=0)) == 0
    unsure = sv.Detections(boxes)
    assert detections_of_supervision(unsure, 0).scores.tolist() == [1, 1]
    with pytest.raises(TrackingError, match="detections of frame 3 have no class_id to choose 0 by"):
        detections_of_supervision(unsure, 3, person_class=0)
    flat = SimpleNamespace(xyxy=[[5, 5, 5, 9]], confidence=None, class_id=None)
    with pytest.raises(TrackingError, match="Box 0 of frame 0 has no area"):
        detections_of_supervision(flat, 0)
