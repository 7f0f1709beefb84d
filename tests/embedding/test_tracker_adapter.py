from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.embedding.colours import colour_embedder
from tests.images.pictures import drawn_frame

from omnireid import TrackerEmbedder
from omnireid.errors import SettingError, ShapeError, TrackingError
from omnireid.types import ByteArray, FloatArray

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import supervision as sv
    from trackers import ByteTrackTracker

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BOXES = np.array([[20, 20, 68, 140], [100, 60, 148, 180], [-50, 10, -10, 90], [10.2, 10, 10.3, 90]], dtype=np.float32)


def bgr_frame() -> ByteArray:
    return np.ascontiguousarray(drawn_frame()[..., ::-1])


def detections(boxes: FloatArray) -> sv.Detections:
    return sv.Detections(boxes, confidence=np.full(len(boxes), 0.9), class_id=np.zeros(len(boxes), dtype=int))


def test_every_method_gives_one_finite_row_that_is_not_zero_for_each_box() -> None:
    model, frame = TrackerEmbedder(colour_embedder()), bgr_frame()
    features = model.extract_features(detections(BOXES), frame)
    assert features.shape == (4, 3)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.any(axis=1).all()
    assert np.array_equal(model.extract_embeddings(detections(BOXES), frame, batch_size=2), features)
    assert np.array_equal(model.get_features(BOXES, frame), features)
    valid = model.embedder.embed_boxes(frame, BOXES, "bgr")
    assert np.array_equal(valid.embeddings[valid.valid], features[:2])


def test_the_frame_is_bgr_and_files_are_what_they_are(tmp_path: Path) -> None:
    model, frame = TrackerEmbedder(colour_embedder()), bgr_frame()
    paths = []
    for row, (left, top, right, bottom) in enumerate(BOXES[:2].astype(int)):
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(frame[top:bottom, left:right, ::-1]).save(paths[-1])
    expected = model.extract_embeddings_from_paths(paths, batch_size=1, num_workers=2)
    assert np.array_equal(model.extract_embeddings(detections(BOXES[:2]), frame), expected)


def test_no_box_and_no_file_give_no_row() -> None:
    model = TrackerEmbedder(colour_embedder())
    nothing = sv.Detections.empty()
    assert model.extract_embeddings(nothing, bgr_frame()).shape == (0, 3)
    assert model.extract_features(nothing, bgr_frame()).shape == (0, 3)
    assert model.get_features([], bgr_frame()).shape == (0, 3)
    assert model.extract_embeddings_from_paths([]).shape == (0, 3)


def test_the_crops_are_those_that_supervision_cuts() -> None:
    frame, boxes = bgr_frame(), np.array([[20.5, 21.5, 68.4, 140.6], [99.5, 60.49, 400, 180.51]])
    cut = [np.ascontiguousarray(sv.crop_image(frame, box)[..., ::-1]) for box in boxes]
    found = colour_embedder().embed_boxes(frame, boxes, "bgr").embeddings
    assert np.array_equal(found, colour_embedder().embed(cut))


def test_the_rows_belong_to_the_tracks_that_trackers_gives() -> None:
    tracker, model = ByteTrackTracker(minimum_consecutive_frames=1), TrackerEmbedder(colour_embedder())
    colours = np.array([[250, 10, 10], [10, 250, 10]], dtype=np.uint8)
    seen: dict[int, list[FloatArray]] = {}
    for step in range(6):
        frame = np.zeros((240, 320, 3), dtype=np.uint8)
        boxes = BOXES[:2] + np.float32(3 * step)
        for (left, top, right, bottom), colour in zip(boxes.astype(int), colours, strict=True):
            frame[top:bottom, left:right] = colour
        tracked = tracker.update(detections(boxes[:: -1 if step % 2 else 1]))
        features = model.extract_features(tracked, frame)
        assert len(features) == len(tracked)
        assert tracked.tracker_id is not None
        for number, row in zip(tracked.tracker_id.tolist(), features, strict=True):
            seen.setdefault(number, []).append(row)
    followed = {number: rows for number, rows in seen.items() if number >= 0}
    assert [len(rows) for rows in followed.values()] == [5, 5]  # a box gets its number in its second frame
    for rows in followed.values():
        assert np.ptp(rows, axis=0).max() < 2


def test_bad_arguments_are_named() -> None:
    model, frame = TrackerEmbedder(colour_embedder()), bgr_frame()
    with pytest.raises(ShapeError, match=r"need their boxes as \.xyxy.* got a ndarray\. For an array of boxes"):
        model.extract_features(BOXES, frame)  # type: ignore[arg-type]
    with pytest.raises(TrackingError, match="Box 0 of 1 is not finite"):
        model.extract_features(SimpleNamespace(xyxy=np.full((1, 4), np.nan)), frame)
    with pytest.raises(ShapeError, match="A frame is a"):
        model.get_features(BOXES, frame[..., 0])
    with pytest.raises(SettingError, match="num_workers must be a whole number, at least 0; got -1"):
        model.extract_embeddings_from_paths([], num_workers=-1)
    with pytest.raises(SettingError, match="batch_size=0"):
        model.extract_embeddings(detections(BOXES), frame, batch_size=0)


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An example, with a network of three neurons in the place of the default one."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "load_embedder", colour_embedder)
    return module


def test_the_example_for_trackers_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import av

    video, rows = tmp_path / "people.mp4", []
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 320, 240
        for number in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn_frame(), format="rgb24")))
            rows.append(f"{number},{20 + number},20,{68 + number},140,0.9")
        container.mux(stream.encode())
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    example("tracking_trackers", monkeypatch).main(str(video), str(tmp_path / "boxes.csv"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "4 [0] (1, 3)"
    assert len(lines) == 5


def test_the_examples_for_reid_and_boxmot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame, crop = tmp_path / "frame.png", tmp_path / "crop.png"
    Image.fromarray(drawn_frame()).save(frame)
    Image.fromarray(drawn_frame()[20:140, 20:68]).save(crop)
    example("tracking_reid", monkeypatch).main(str(frame), str(crop), str(crop))
    assert capsys.readouterr().out.count("[") == 3
    words = [str(edge) for box in BOXES[:2].astype(int) for edge in box]
    example("tracking_boxmot", monkeypatch).main(str(frame), str(frame), *words)
    assert capsys.readouterr().out.splitlines() == [
        f"box {row} of {frame} is box {row} of {frame}, cosine 1.00" for row in range(2)
    ]
