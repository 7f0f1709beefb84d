from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnireid.errors import DataNotFoundError, TrackingError
from omnireid.tracking.track_table import Recording, TrackTable, read_track_table, write_track_table

from .walkers import walker

TABLE = TrackTable(
    (walker(3, 0, (0, 9), crops_every=4), walker(1, 1, (2, 5)), walker(1, 1, (2, 5), camera="yard")),
    {("door", 3): 12, ("yard", 1): 0},
    {"door": Recording(640, 480, "2026-05-01T10:00:00+00:00"), "yard": Recording(320, 240)},
    "a" * 64,
    {"height": 256},
)


def test_tracklets_come_back_exactly(tmp_path: Path) -> None:
    write_track_table(tmp_path / "tracks.parquet", TABLE)
    table = read_track_table(tmp_path / "tracks.parquet")
    assert (table.people, table.recordings) == (TABLE.people, TABLE.recordings)
    assert (table.weights_sha256, table.preprocessing) == (TABLE.weights_sha256, TABLE.preprocessing)
    for found, written in zip(table.tracklets, TABLE.tracklets, strict=True):
        for part in fields(written):
            np.testing.assert_array_equal(getattr(found, part.name), getattr(written, part.name))
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.parquet"]


def test_a_row_says_which_box_was_embedded_and_whom_it_shows(tmp_path: Path) -> None:
    write_track_table(tmp_path / "tracks.parquet", TABLE)
    rows = pq.read_table(tmp_path / "tracks.parquet").to_pylist()
    assert len(rows) == 9 + 3 + 3
    assert [row["frame"] for row in rows[:9] if row["embedding"] is not None] == [0, 4, 8]
    assert {row["person"] for row in rows if row["track"] == 1 and row["camera"] == "door"} == {None}


def test_an_empty_table_and_tracklets_without_embeddings_come_back(tmp_path: Path) -> None:
    write_track_table(tmp_path / "none.parquet", TrackTable(()))
    assert read_track_table(tmp_path / "none.parquet").tracklets == ()
    one = walker(3, 0, (0, 9))
    plain = replace(one, embedded=one.embedded[:0], embeddings=one.embeddings[:0], qualities=one.qualities[:0])
    write_track_table(tmp_path / "plain.parquet", TrackTable((plain,)))
    assert len(read_track_table(tmp_path / "plain.parquet").tracklets[0].embedded) == 0


def test_values_that_do_not_fit_together_are_refused() -> None:
    one = walker(3, 0, (0, 9))
    with pytest.raises(TrackingError, match="Two tracklets of camera door have the number 3"):
        TrackTable((one, one), weights_sha256="a" * 64)
    with pytest.raises(TrackingError, match="no tracklet 4 of camera door to give a person to"):
        TrackTable((one,), {("door", 4): 0}, weights_sha256="a" * 64)
    with pytest.raises(TrackingError, match="not the SHA-256 of the weights"):
        TrackTable((one,))
    narrow = replace(walker(4, 0, (0, 9)), embeddings=one.embeddings[:, :4])
    with pytest.raises(TrackingError, match=r"one width; found \[4, 16\]"):
        TrackTable((one, narrow), weights_sha256="a" * 64)


def test_files_that_are_no_table_of_tracks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="There is no file"):
        read_track_table(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(TrackingError, match="cannot be read as a Parquet file"):
        read_track_table(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(TrackingError, match="is no table of tracks"):
        read_track_table(tmp_path / "other.parquet")
    write_track_table(tmp_path / "tracks.parquet", TABLE)
    rows = pq.read_table(tmp_path / "tracks.parquet")
    pq.write_table(pa.concat_tables([rows.slice(1, 1), rows.slice(0, 1)]), tmp_path / "back.parquet")
    with pytest.raises(TrackingError, match="holds no tracklets from row 0 on: Frames and times must rise"):
        read_track_table(tmp_path / "back.parquet")
