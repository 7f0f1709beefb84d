from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tests.embedding.colours import colour_embedder, mean_colour

from omnireid.addresses import Address, file_names
from omnireid.data.listing import list_crops
from omnireid.data.numbering import number_together
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.tables import read_embeddings
from omnireid.errors import (
    DataError,
    DataNotFoundError,
    ImageError,
    OutputError,
    OutputInUseError,
    SettingError,
    StoppedError,
)
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.files import sole_writer
from omnireid.images.decode import RgbArray
from omnireid.types import Crops, FloatArray

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    """Twenty-three PNGs, each of a colour of its own."""
    folder = tmp_path / "crops"
    folder.mkdir()
    paths = tuple(folder / f"{i:02d}.png" for i in range(23))
    for i, path in enumerate(paths):
        Image.new("RGB", (4, 8), (10 * i, 255 - 10 * i, i)).save(path)
    return Crops(paths, np.arange(23), np.arange(23) % 3, {"note": [None] * 10 + ["x"] * 13})


class Counting:
    """The colour network, counting crops, and failing when told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen = 0
        self.stop_after = stop_after

    def __call__(self, images: RgbArray) -> FloatArray:
        if self.stop_after is not None and self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        return mean_colour(images)


def counting(stop_after: int | None = None) -> tuple[Embedder, Counting]:
    network = Counting(stop_after)
    return colour_embedder(run=network), network


@pytest.mark.parametrize(("chunk_size", "batch_size"), [(5, 4), (4, 5), (100, 3), (1, 1), (23, 23), (7, 100)])
def test_rows_are_the_crops_in_order(tmp_path: Path, crops: Crops, chunk_size: int, batch_size: int) -> None:
    output = tmp_path / "out.parquet"
    embedder = colour_embedder()
    summary = embed_to_parquet(embedder, crops, output, chunk_size=chunk_size, batch_size=batch_size)
    table = read_embeddings(output)
    assert summary.embedded == 23
    assert table.paths == crops.paths
    assert np.allclose(table.embeddings, embedder.embed(crops.paths), rtol=1e-5, atol=1e-6)
    assert table.labels is not None
    assert crops.labels is not None
    assert table.labels.person_ids.tolist() == crops.labels.person_ids.tolist()
    assert table.labels.camera_ids is not None
    assert table.labels.camera_ids.tolist() == (np.arange(23) % 3).tolist()
    assert table.columns["note"] == pa.chunked_array([[None] * 10 + ["x"] * 13])
    assert table.provenance.weights_sha256 == embedder.weights_sha256
    assert table.provenance.preprocessing["height"] == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "out.parquet"]


def test_ctrl_c_keeps_finished_chunks_and_the_same_command_goes_on(tmp_path: Path, crops: Crops) -> None:
    output = tmp_path / "out.parquet"
    interrupted, _ = counting(stop_after=12)
    with pytest.raises(StoppedError, match=r"Stopped. 10 of 23 crops are embedded and kept"):
        embed_to_parquet(interrupted, crops, output, chunk_size=5, batch_size=4)
    assert not output.exists()
    again, network = counting()
    summary = embed_to_parquet(again, crops, output, chunk_size=5, batch_size=4)
    assert network.seen == 13
    assert summary.found_done == 10
    whole = tmp_path / "whole.parquet"
    embed_to_parquet(colour_embedder(), crops, whole, chunk_size=5)
    assert np.allclose(read_embeddings(output).embeddings, read_embeddings(whole).embeddings, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "out.parquet", "whole.parquet"]


def test_a_table_at_an_address_is_whole_or_not_there_and_goes_on(crops: Crops) -> None:
    output = Address("memory://site/out.parquet")
    interrupted, _ = counting(stop_after=12)
    with pytest.raises(StoppedError, match="10 of 23 crops are embedded and kept"):
        embed_to_parquet(interrupted, crops, output, chunk_size=5, batch_size=4)
    assert not output.exists()
    again, network = counting()
    assert embed_to_parquet(again, crops, output, chunk_size=5).found_done == 10
    assert network.seen == 13
    assert read_embeddings(output).paths == crops.paths
    assert file_names(output.parent) == {"out.parquet"}


def test_done_is_done(tmp_path: Path, crops: Crops) -> None:
    output = tmp_path / "out.parquet"
    embed_to_parquet(colour_embedder(), crops, output)
    before = output.stat().st_mtime_ns
    again, network = counting()
    assert embed_to_parquet(again, crops, output).found_done == 23
    assert network.seen == 0
    assert output.stat().st_mtime_ns == before


def test_other_weights_other_crops_other_labels_are_another_job(tmp_path: Path, crops: Crops) -> None:
    output = tmp_path / "out.parquet"
    embed_to_parquet(colour_embedder(), crops, output)
    relabelled = replace(crops, person_ids=np.arange(23)[::-1])
    Image.new("RGB", (4, 8), (1, 2, 3)).save(crops.paths[0], compress_level=0)
    for embedder, other in [
        (colour_embedder(sha256="d1" * 32), crops),
        (colour_embedder(), replace(crops, paths=crops.paths[::-1])),
        (colour_embedder(), relabelled),
    ]:
        summary = embed_to_parquet(embedder, other, output)
        assert summary.found_done == 0
    assert read_embeddings(output).labels is not None


def test_a_half_written_chunk_is_done_again(tmp_path: Path, crops: Crops) -> None:
    output = tmp_path / "out.parquet"
    interrupted, _ = counting(stop_after=12)
    with pytest.raises(StoppedError):
        embed_to_parquet(interrupted, crops, output, chunk_size=5, batch_size=4)
    parts = sorted((tmp_path / ".out.parquet.parts").rglob("*.parquet"))
    assert len(parts) == 2
    parts[0].write_bytes(parts[0].read_bytes()[:-10])
    again, network = counting()
    assert embed_to_parquet(again, crops, output, chunk_size=5).embedded == 23
    assert network.seen == 18


def test_a_job_that_stopped_at_a_bad_crop_goes_on_once_it_is_mended(tmp_path: Path, crops: Crops) -> None:
    output = tmp_path / "out.parquet"
    crops.paths[12].write_text("no image")
    with pytest.raises(ImageError, match=r"12\.png"):
        embed_to_parquet(colour_embedder(), crops, output, chunk_size=5, batch_size=5)
    Image.new("RGB", (4, 8)).save(crops.paths[12])
    again, network = counting()
    assert embed_to_parquet(again, crops, output, chunk_size=5, batch_size=5).found_done == 10
    assert network.seen == 13


def test_what_was_skipped_is_met_again_when_skipping_is_not_wanted(tmp_path: Path, crops: Crops) -> None:
    output = tmp_path / "out.parquet"
    crops.paths[12].write_text("no image")
    embed_to_parquet(colour_embedder(), crops, output, chunk_size=5, skip_unreadable=True)
    with pytest.raises(ImageError, match=r"12\.png"):
        embed_to_parquet(colour_embedder(), crops, output, chunk_size=5)


def test_unreadable_crops_stop_it_or_are_listed(tmp_path: Path, crops: Crops) -> None:
    crops.paths[7].write_text("no image")
    crops.paths[22].write_bytes(b"")
    output = tmp_path / "out.parquet"
    with pytest.raises(ImageError, match=r"07\.png is not a JPEG"):
        embed_to_parquet(colour_embedder(), crops, output, chunk_size=5)
    summary = embed_to_parquet(colour_embedder(), crops, output, chunk_size=5, skip_unreadable=True)
    table = read_embeddings(output)
    assert summary.embedded == len(table.paths) == 21
    assert summary.skipped == table.provenance.skipped
    assert [Path(path).name for path, _ in summary.skipped] == ["07.png", "22.png"]
    assert "is empty (0 bytes)" in summary.skipped[1][1]
    assert table.labels is not None
    assert 7 not in table.labels.person_ids
    assert np.allclose(table.embeddings[7], colour_embedder().embed([crops.paths[8]])[0], atol=1e-6)


def test_a_chunk_without_any_readable_crop(tmp_path: Path, crops: Crops) -> None:
    for path in crops.paths[5:10]:
        path.write_text("no image")
    output = tmp_path / "out.parquet"
    embed_to_parquet(colour_embedder(), crops, output, chunk_size=5, skip_unreadable=True)
    assert len(read_embeddings(output).paths) == 18
    for path in crops.paths:
        path.write_text("no image")
    with pytest.raises(ImageError, match="None of the 23 crops can be read"):
        embed_to_parquet(colour_embedder(), crops, output, chunk_size=5, skip_unreadable=True)
    assert len(read_embeddings(output).paths) == 18


def test_refusals(tmp_path: Path, crops: Crops) -> None:
    with pytest.raises(DataNotFoundError, match="no crop to embed"):
        embed_to_parquet(colour_embedder(), [], tmp_path / "out.parquet")
    with pytest.raises(DataError, match="got a str"):
        embed_to_parquet(colour_embedder(), "a.jpg", tmp_path / "out.parquet")
    with sole_writer(tmp_path / "out.parquet"), pytest.raises(OutputInUseError, match="Another process is writing"):
        embed_to_parquet(colour_embedder(), crops, tmp_path / "out.parquet")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="in the way"):
        embed_to_parquet(colour_embedder(), crops, tmp_path / "file" / "out.parquet")
    with pytest.raises(SettingError, match="at least one crop; got chunk_size=0"):
        embed_to_parquet(colour_embedder(), crops, tmp_path / "out.parquet", chunk_size=0)


def test_an_output_that_cannot_be_is_refused_before_the_work_and_leaves_nothing(tmp_path: Path, crops: Crops) -> None:
    (tmp_path / "folder.parquet").mkdir()
    disguised = tmp_path / "crop.parquet"
    crops.paths[0].rename(disguised)
    before = sorted(tmp_path.rglob("*"))
    embedder, network = counting()
    for name, message in [
        ("folder.parquet", "is a folder or a device, not a file"),
        ("out.csv", r"ends in \.parquet; got"),
        ("out.npy", r"ends in \.parquet; got"),
        ("crop.parquet", r"is an input of this command .*crop\.parquet"),
    ]:
        with pytest.raises(OutputError, match=message):
            embed_to_parquet(embedder, replace(crops, paths=(disguised, *crops.paths[1:])), tmp_path / name)
    assert network.seen == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_columns_of_any_type_are_kept_and_are_part_of_the_job(tmp_path: Path, crops: Crops) -> None:
    times = pa.array(range(23), pa.timestamp("ns"))
    boxes = pa.array([None, *({"x": [n]} for n in range(22))])
    output = tmp_path / "out.parquet"
    timed = replace(crops, columns={"time": times, "box": boxes})
    embed_to_parquet(colour_embedder(), timed, output, chunk_size=5)
    read = read_embeddings(output).columns
    assert read["time"] == pa.chunked_array([times])
    assert read["box"] == pa.chunked_array([boxes])
    again, network = counting()
    assert embed_to_parquet(again, timed, output, chunk_size=5).found_done == 23
    later = pa.array([*range(22), 99], pa.timestamp("ns"))
    assert embed_to_parquet(again, replace(crops, columns={"time": later, "box": boxes}), output).found_done == 0
    assert network.seen == 23


def slow_job() -> None:
    """Run in another process, to be killed: a crop every 20 ms."""
    folder = Path(sys.argv[1])

    def slow(images: RgbArray) -> FloatArray:
        time.sleep(0.02 * len(images))
        return mean_colour(images)

    paths = sorted((folder / "crops").iterdir())
    embedder = colour_embedder(run=slow)
    embed_to_parquet(embedder, paths, folder / "out.parquet", chunk_size=2, batch_size=1)


def test_kill_at_any_moment_loses_at_most_a_chunk(tmp_path: Path, crops: Crops) -> None:
    code = "from tests.embedding.test_jobs import slow_job; slow_job()"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    parts = tmp_path / ".out.parquet.parts"
    deadline = time.monotonic() + 60
    while len(list(parts.rglob("[0-9]*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not (tmp_path / "out.parquet").exists()
    again, network = counting()
    summary = embed_to_parquet(again, Crops(crops.paths), tmp_path / "out.parquet", chunk_size=2)
    assert summary.found_done >= 6
    assert network.seen == 23 - summary.found_done
    assert np.allclose(
        read_embeddings(tmp_path / "out.parquet").embeddings, colour_embedder().embed(crops.paths), atol=1e-6
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "out.parquet"]


def test_people_of_two_manifests_embedded_one_by_one_are_found_by_name(tmp_path: Path) -> None:
    colours = {"amy": (250, 0, 0), "bob": (0, 0, 250), "zoe": (0, 250, 0)}
    tables = []
    for name, people in (("query", ["zoe", "bob"]), ("gallery", ["amy", "bob", "zoe"])):
        for person in people:
            Image.new("RGB", (4, 8), colours[person]).save(tmp_path / f"{name}_{person}.png")
        rows = [f"{name}_{person}.png,{person}" for person in people]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,person_id", *rows]))
        crops = list_crops([str(tmp_path / f"{name}.csv")])
        embed_to_parquet(colour_embedder(), crops, tmp_path / f"{name}.parquet")
        tables.append(read_embeddings(tmp_path / f"{name}.parquet"))
    query, gallery = tables
    assert query.labels is not None
    assert query.labels.person_ids.tolist() == [1, 0]  # bob is 0 here, and 1 in the gallery
    labels = number_together(query.crops, gallery.crops)
    assert evaluate_ranking(query.embeddings, gallery.embeddings, *labels, protocol="no-cameras").rank1 == 1


def test_wrong_arguments_name_the_parameter(crop_folder: Path, tmp_path: Path) -> None:
    crops = sorted(crop_folder.iterdir())
    with pytest.raises(SettingError, match="embedder must be what load_embedder gives; got NoneType"):
        embed_to_parquet(None, crops, tmp_path / "out.parquet")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"output must be a path; got None \(NoneType\)"):
        embed_to_parquet(colour_embedder(), crops, None)  # type: ignore[arg-type]
