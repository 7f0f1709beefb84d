from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.tracking.graphs import write_constant_detector

from omnireid.errors import CheckpointError, CoverageError, SettingError, ShapeError, WeightsNotFoundError
from omnireid.tracking.detections import FrameDetections
from omnireid.tracking.detector import Detector, cells, letterbox, load_detector, suppress_overlaps
from omnireid.tracking.detector_options import DetectorOptions
from omnireid.tracking.mot_files import read_detections, read_tracks
from omnireid.tracking.video import open_video
from omnireid.types import ByteArray, DoubleArray, FloatArray

CELLS = 8 * 4 + 4 * 2 + 2 * 1  # 64 × 32 at strides 8, 16 and 32


def output_with(*people: tuple[int, tuple[float, float, float, float], float, int]) -> FloatArray:
    """An output of two classes in which some cells see something: (cell, offsets and logarithms, score, class)."""
    output = np.zeros((CELLS, 7), dtype=np.float32)
    for cell, place, score, kind in people:
        output[cell] = [*place, score, float(kind == 0), float(kind == 1)]
    return output


def test_a_cell_becomes_a_box_in_pixels_of_the_frame(tmp_path: Path) -> None:
    """Cell 32 + 5 is column 1, row 2 of stride 16. The frame is twice the input, and half as wide for its height."""
    seen = output_with(
        (37, (0.5, -0.25, np.log(1.5), np.log(2)), 0.75, 0), (3, (0, 0, 0, 0), 0.9, 1), (9, (0, 0, -9, 0), 0.9, 0)
    )
    detector = load_detector(write_constant_detector(tmp_path / "d.onnx", seen), DetectorOptions(threads=1))
    assert (detector.height, detector.width, detector.classes) == (64, 32, 2)
    found = detector.detect(np.zeros((128, 32, 3), dtype=np.uint8), 5)
    assert found.frame == 5
    assert found.scores.tolist() == [0.75]
    centre, half = np.array([1.5 * 16, 1.75 * 16]), np.array([1.5 * 8, 2 * 8])
    assert found.boxes[0] == pytest.approx(np.concatenate([centre - half, centre + half]) * 2)
    other = load_detector(detector.path, DetectorOptions(person_class=1, threads=1))
    assert other.detect(np.zeros((64, 32, 3), np.uint8), 0).boxes.tolist() == [[20, -4, 28, 4]]
    strict = load_detector(detector.path, DetectorOptions(least_score=0.8, threads=1))
    assert len(strict.detect(np.zeros((64, 32, 3), np.uint8), 0)) == 0
    with pytest.raises(ShapeError, match="A frame is a"):
        detector.detect(np.zeros((64, 32), np.uint8), 0)


def test_the_letterbox_keeps_proportions_and_pads_with_grey() -> None:
    wide, ratio = letterbox(np.full((100, 400, 3), 7, dtype=np.uint8), 64, 32)
    assert ratio == 0.08
    assert (wide[:8] == 7).all()
    assert (wide[8:] == 114).all()
    thin, _ = letterbox(np.full((6400, 10, 3), 7, dtype=np.uint8), 64, 32)
    assert (thin[:, 0] == 7).all()
    assert (thin[:, 1:] == 114).all()


def test_overlaps_are_suppressed_by_score_and_ties_go_to_the_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 4, 10, 14], [20, 0, 30, 10], [0, 0, 10, 5]], dtype=np.float64)
    scores = np.array([0.5, 0.5, 0.9, 0.1, 0.3], dtype=np.float32)
    assert suppress_overlaps(boxes, scores, 0.5).tolist() == [2, 0, 4, 3]  # 60 of 140 shared; exactly half is kept
    assert suppress_overlaps(boxes, scores, 0.4).tolist() == [2, 4, 3]
    assert suppress_overlaps(boxes[:0], scores[:0], 0.5).tolist() == []


@pytest.mark.parametrize(
    ("output", "size", "message"),
    [
        (np.zeros((84, 42)), (64, 32), r"it gives output \[1, 84, 42\], not \(1, 42, 5 \+ classes\)"),
        (np.zeros((CELLS, 5)), (64, 32), r"\[1, 42, 5\]"),
        (np.zeros((CELLS, 7)), (60, 32), r"it takes images tensor\(float\) \[1, 3, 60, 32\]"),
        (np.full((CELLS, 7), 3.0), (64, 32), r"what should be confidences lies outside \[0, 1\]"),
        (np.tile([90, 90, 9, 9, 0, 0, 0], (CELLS, 1)), (64, 32), "it decodes its boxes itself"),
    ],
)
def test_a_graph_of_another_family_is_refused_by_what_it_is(
    tmp_path: Path, output: FloatArray, size: tuple[int, int], message: str
) -> None:
    path = write_constant_detector(tmp_path / "other.onnx", output.astype(np.float32), size)
    with pytest.raises(CoverageError, match=r"other\.onnx is no detector of the YOLOX family: " + ".*" + message):
        load_detector(path, DetectorOptions(threads=1))


def test_a_graph_that_takes_nothing_is_refused(tmp_path: Path) -> None:
    output = onnx.helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Constant", [], ["o"], value_floats=[1.0])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [], [output]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "none.onnx")
    with pytest.raises(CoverageError, match="it takes nothing, not float pixels"):
        load_detector(tmp_path / "none.onnx")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="There is no detector"):
        load_detector(tmp_path / "no.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(CheckpointError, match=r"text\.onnx cannot be read as an ONNX graph"):
        load_detector(tmp_path / "text.onnx")
    path = write_constant_detector(tmp_path / "d.onnx", np.zeros((CELLS, 7), dtype=np.float32))
    with pytest.raises(SettingError, match="has 2 classes, counted from 0, and so no class 2"):
        load_detector(path, DetectorOptions(person_class=2, threads=1))
    for options in ({"least_score": 0}, {"most_overlap": float("nan")}, {"person_class": -1}):
        with pytest.raises(SettingError, match=next(iter(options))):
            DetectorOptions(**options)


@pytest.fixture(scope="module")
def yolox(shared: Path) -> Detector:
    return load_detector(shared / "weights" / "detectors" / "yolox_nano.onnx", DetectorOptions(threads=1))


def frames_of(shared: Path, numbers: range) -> dict[int, ByteArray]:
    with open_video(shared / "data" / "tracking" / "PETS09-S2L1" / "video.avi") as video:
        found = {}
        for frame in video.frames():
            if frame.number in numbers:
                found[frame.number] = frame.pixels
            if frame.number >= numbers[-1]:
                return found
    raise AssertionError("the video is shorter than that")


@pytest.mark.real
def test_the_boxes_are_those_of_the_graphs_own_output(yolox: Detector, shared: Path) -> None:
    """Its output is decoded again here, cell by cell and without NumPy's indices."""
    frame = frames_of(shared, range(200, 201))[200]
    picture, ratio = letterbox(frame, 416, 416)
    raw = yolox.run(picture.transpose(2, 0, 1)[np.newaxis].astype(np.float32))
    candidates: list[tuple[float, list[float]]] = []
    row = 0
    for stride in (8, 16, 32):
        for y in range(416 // stride):
            for x in range(416 // stride):
                dx, dy, w, h, seen = (float(value) for value in raw[row, :5])
                score = seen * float(raw[row, 5])
                middle, half = ((x + dx) * stride, (y + dy) * stride), (np.exp(w) * stride / 2, np.exp(h) * stride / 2)
                box = (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
                if score >= 0.1:
                    candidates.append((score, [edge / ratio for edge in box]))
                row += 1
    assert row == len(raw) == len(cells(416, 416))
    best: list[tuple[float, list[float]]] = []
    for score, placed in sorted(candidates, key=lambda candidate: -candidate[0]):
        if all(overlap(placed, other) <= 0.45 for _, other in best):
            best.append((score, placed))
    found = yolox.detect(frame, 200)
    assert len(found) == len(best) >= 4
    assert np.allclose(found.boxes, [placed for _, placed in best], atol=1e-3)
    assert np.allclose(found.scores, [score for score, _ in best], atol=1e-5)
    rgb = yolox.detect(np.ascontiguousarray(frame[..., ::-1]), 200, "rgb")
    assert np.array_equal(rgb.boxes, found.boxes)


def overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    shared_area = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared_area / (sum(areas) - shared_area)


def matches(found: DoubleArray, truth: DoubleArray) -> int:
    """How many boxes can be paired with a true one at an intersection over union of 0.5, each only once."""
    from scipy.optimize import linear_sum_assignment

    overlaps = np.array([[overlap(box, true) for true in truth.tolist()] for box in found.tolist()])
    if not overlaps.size:
        return 0
    rows, columns = linear_sum_assignment(-(overlaps >= 0.5).astype(float))
    return int((overlaps[rows, columns] >= 0.5).sum())


def recall_and_precision(
    found: dict[int, FrameDetections], truth: dict[int, FrameDetections], least_score: float
) -> tuple[float, float]:
    paired = given = there = 0
    for frame, detections in found.items():
        boxes = detections.boxes[detections.scores >= least_score].astype(np.float64)
        true = truth[frame].boxes.astype(np.float64)
        paired, given, there = paired + matches(boxes, true), given + len(boxes), there + len(true)
    return paired / there, paired / given


@pytest.mark.real
def test_it_finds_the_people_of_a_real_video(yolox: Detector, shared: Path) -> None:
    folder = shared / "data" / "tracking" / "PETS09-S2L1"
    frames = frames_of(shared, range(0, 400, 20))
    found = {number: yolox.detect(pixels, number) for number, pixels in frames.items()}
    truth = read_tracks(folder / "gt" / "gt.txt").detections()
    recall, precision = recall_and_precision(found, truth, 0.5)
    public = read_detections(folder / "det" / "det.txt").detections()
    public_recall, public_precision = recall_and_precision({number: public[number] for number in frames}, truth, 0.0)
    assert recall > max(0.9, public_recall)  # 0.925 when this was written; the public detections have 0.675
    assert precision > max(0.8, public_precision)  # 0.841; the public detections have 0.730
