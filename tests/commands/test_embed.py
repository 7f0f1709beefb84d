from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from omnireid.cli import main
from omnireid.embedding.tables import read_embeddings
from omnireid.files import sha256_of


def test_a_folder_becomes_a_table(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.parquet"
    words = ["embed", str(crop_folder), "--weights", str(untrained), "--output", str(output)]
    assert main(words) == 0
    table = read_embeddings(output)
    assert table.embeddings.shape == (12, 512)
    assert (table.embeddings >= 0).all()
    assert table.labels is not None
    assert table.labels.person_ids.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert table.provenance.weights_sha256 == sha256_of(untrained)
    assert table.provenance.model == "osnet_x0_25"
    assert table.provenance.licence == "Apache-2.0"
    assert "12 embeddings of osnet_x0_25" in capsys.readouterr().out
    assert main(words) == 0
    assert "12 crops were embedded by an earlier run" in capsys.readouterr().out


def test_an_unreadable_crop_stops_it_or_is_listed(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    output = tmp_path / "out.parquet"
    words = ["embed", str(bad), str(crop_folder), "--weights", str(untrained), "--output", str(output)]
    assert main(words) == 2
    assert "bad.jpg is not a JPEG, PNG, WebP, BMP" in capsys.readouterr().err
    assert not output.exists()
    assert main([*words, "--skip-unreadable"]) == 0
    assert "1 unreadable crops were left out" in capsys.readouterr().out
    assert [Path(path).name for path, _ in read_embeddings(output).provenance.skipped] == ["bad.jpg"]


@pytest.mark.parametrize(
    ("images", "message"),
    [("gone", "There is no gone"), ("*.gif", r"No image matches *.gif"), ("", "There is no image in")],
)
def test_names_that_mean_nothing(
    tmp_path: Path,
    untrained: Path,
    images: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["embed", images, "--weights", str(untrained), "--output", "out.parquet"]) == 2
    assert message in capsys.readouterr().err


def test_no_output_replaces_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is loaded first: these weights do not exist."""
    crop, manifest = tmp_path / "a.jpg", tmp_path / "manifest.parquet"
    Image.new("RGB", (4, 8)).save(crop)
    pq.write_table(pa.table({"path": ["a.jpg"], "person_id": [1]}), manifest)
    written = {path: path.read_bytes() for path in (crop, manifest)}
    cases: list[tuple[list[object], Path, str]] = [
        ([crop], crop, "ends in .parquet"),
        ([crop], tmp_path / "out.csv", "ends in .parquet"),
        ([manifest], manifest, f"it is an input of this command ({manifest})"),
        ([tmp_path, "--split", "query"], manifest, f"it is an input of this command ({manifest})"),
        ([crop], tmp_path, "is a folder or a device"),
    ]
    for images, output, message in cases:
        assert main(["embed", *map(str, images), "--weights", "gone", "--output", str(output)]) == 2
        assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == written
