from __future__ import annotations

from pathlib import Path

from PIL import Image
from tests.gallery.tables import crops_of, filled, mean_embedder, table_of
from tests.images.pictures import blurred, drawn

from omnireid.gallery.gallery import Gallery
from omnireid.gallery.quality import frame_problems
from omnireid.images.quality import LEAST_SHARPNESS


def test_boxes_show_what_is_cut_off_and_who_stands_together() -> None:
    import pyarrow as pa

    boxes = [[0, 20, 40, 120], [30, 20, 70, 120], [60, 0.5, 90, 120], [300, 40, 340, 199.5], [200, 20, 240, 120], None]
    near = [[10, 10, 50, 110], [25, 10, 65, 110]]
    described = pa.table(
        {
            "box_xyxy": pa.array([*boxes, *near, near[1]], pa.list_(pa.float32(), 4)),
            "camera": ["1"] * 8 + ["2"],
            "time": pa.array([None] * 9, pa.timestamp("us", tz="UTC")),
            "frame": [1, 1, 1, 1, 1, 1, 2, 2, 2],
            "frame_height": [200] * 9,
        }
    )
    problems = frame_problems(described)
    assert sorted(problems) == [0, 2, 3, 6, 7]
    assert problems[3] == "cut off by the frame: its box is 300, 40, 340, 199.5"
    assert problems[6] == "two people: another box of the frame covers 62 % of its box"


def test_poor_crops_are_left_out_and_listed_or_kept(tmp_path: Path) -> None:
    pictures = {"good.png": drawn(128, 64), "tiny.png": drawn(30, 12), "soft.png": blurred(drawn(128, 64), 5)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / name)
    crops = crops_of([tmp_path / name for name in pictures], [1, 2, 3], [1, 1, 1])
    gallery = Gallery.open(tmp_path / "g", mean_embedder())
    summary = gallery.add(crops)
    assert summary.added == 1
    assert [(Path(path).name, reason.split(":")[0]) for path, reason in summary.left_out] == [
        ("tiny.png", "too small"),
        ("soft.png", "too blurred"),
    ]
    assert gallery.add(crops, keep_all=True).added == 2
    good, tiny, soft = gallery.sightings()
    assert good.quality is not None
    assert good.quality > 0.5
    assert tiny.quality == 0
    assert soft.quality is not None
    assert soft.quality < LEAST_SHARPNESS


def test_a_table_shows_only_what_boxes_show(tmp_path: Path) -> None:
    gallery = filled(tmp_path / "g", 2, box_xyxy=["0 5 20 60", "4 5 20 60"])
    assert len(gallery.sightings()) == 1
    assert gallery.add(table_of(2, box_xyxy=["0 5 20 60", "4 5 20 60"]), keep_all=True).added == 1
