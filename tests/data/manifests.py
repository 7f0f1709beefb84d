"""Small manifests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.data.fabrication import touch, write_csv

HEADER = ("path", "person_id", "camera_id", "split")


ROWS = (
    ("a.jpg", "1", "1", "train"),
    ("b.jpg", "2", "1", "query"),
    ("c.jpg", "2", "2", "gallery"),
    ("d.jpg", "3", "2", "gallery"),
)


def manifest(folder: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> Path:
    touch(folder, [str(row[0]) for row in rows])
    return write_csv(folder / "manifest.csv", header, rows)


def changed(row: int, column: str, value: object) -> list[list[object]]:
    rows: list[list[object]] = [list(values) for values in ROWS]
    rows[row][HEADER.index(column)] = value
    return rows
