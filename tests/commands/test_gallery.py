from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from omnireid.cli import SUBCOMMANDS, main


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnireid.gallery.database._flush", lambda _path: True)


def test_a_folder_becomes_a_gallery_that_is_searched(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, crops = str(tmp_path / "people.gallery"), sorted(crop_folder.iterdir())
    add = ["gallery", "add", str(crop_folder), "--gallery", gallery]
    assert main([*add, "--weights", str(untrained)]) == 0
    assert "12 sightings added, 0 were there already" in capsys.readouterr().out
    assert main([*add, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == {"added": 0, "found": 12, "left_out": []}
    picture = tmp_path / "found.png"
    search = ["gallery", "search", str(crops[0]), "--gallery", gallery, "--count", "3", "--not-same-camera"]
    assert main([*search, "--picture", str(picture), "--json", "-", "--persons", "1", "2"]) == 0
    matches = json.loads(capsys.readouterr().out)["queries"][0]["matches"]
    assert [match["rank"] for match in matches] == [1, 2, 3]
    assert {match["camera"] for match in matches} == {"2"}
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 300
    assert main(["gallery", "people", "--gallery", gallery]) == 0
    assert "1: 4 sightings  cameras 1, 2" in capsys.readouterr().out
    assert main(["gallery", "info", "--gallery", gallery, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["sightings"] == 12
    assert main(["gallery", "check", "--gallery", gallery]) == 0
    assert "12 sightings, sound" in capsys.readouterr().out
    untrained_gone = ["gallery", "search", str(crops[0]), "--gallery", str(tmp_path / "none")]
    assert main([*untrained_gone, "--weights", str(untrained)]) == 2
    assert "There is no gallery at" in capsys.readouterr().err


def test_a_table_of_embeddings_needs_no_model(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, gallery = str(tmp_path / "crops.parquet"), str(tmp_path / "g")
    assert main(["embed", str(crop_folder), "--weights", str(untrained), "--output", table]) == 0
    assert main(["gallery", "add", table, "--gallery", gallery]) == 0
    capsys.readouterr()
    assert main(["gallery", "search", table, "--gallery", gallery, "--where", "camera = '2'", "--count", "1"]) == 0
    assert capsys.readouterr().out.count("camera 2") == 12
    assert main(["gallery", "search", table, "--gallery", gallery, "--where", "1 = 1; drop table"]) == 2
    assert "error: where:" in capsys.readouterr().err
    assert main(["gallery", "search", str(next(crop_folder.iterdir())), "--gallery", gallery]) == 2
    assert "Name them with --weights" in capsys.readouterr().err


def test_erasing_leaves_a_receipt(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, receipt = str(tmp_path / "g"), tmp_path / "receipt.json"
    assert main(["gallery", "add", str(crop_folder), "--gallery", gallery, "--weights", str(untrained)]) == 0
    remove = ["gallery", "remove", "--gallery", gallery]
    assert main([*remove, "--person", "1", "--camera", "2", "--block", "--receipt", str(receipt)]) == 0
    assert "2 sightings erased, nothing left of 0 people" in capsys.readouterr().out
    record = json.loads(receipt.read_text())
    assert (record["sightings"], record["erased"], record["verified"]) == (
        2,
        {"cameras": ["2"], "persons": ["1"]},
        True,
    )
    assert main(remove) == 2
    assert "Nothing says which sightings to erase" in capsys.readouterr().err
    assert main([*remove, "--before", "2026-03-01T08:00"]) == 2
    assert "states no zone" in capsys.readouterr().err
    assert main(["gallery", "retain", "--gallery", gallery, "--days", "30", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["sightings"] == 0


def test_people_are_decided_and_taken_back(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = str(tmp_path / "g")
    assert main(["gallery", "add", str(crop_folder), "--gallery", gallery, "--weights", str(untrained)]) == 0
    for words in (
        ["merge", "1", "2", "--reason", "the same coat", "--gallery", gallery],
        ["rename", "1", "anna", "--gallery", gallery],
        ["split", "1", "2", "--name", "bert", "--gallery", gallery],
        ["assign", "3", "--person", "bert", "--gallery", gallery],
        ["assign", "4", "--nobody", "--gallery", gallery],
        ["undo", "--gallery", gallery, "--event", "1"],
    ):
        assert main(["gallery", *words]) == 0
    capsys.readouterr()
    assert main(["gallery", "people", "--gallery", gallery, "--json", "-"]) == 0
    listed = json.loads(capsys.readouterr().out)["people"]
    assert {person["person"]: person["sightings"] for person in listed} == {"2": 4, "3": 4, "bert": 3}
    assert main(["gallery", "decisions", "--gallery", gallery]) == 0
    assert "merge people ['2'], person 1 (undone): the same coat" in capsys.readouterr().out
    search = ["gallery", "search", "--gallery", gallery, "--person", "bert", "--method", "vote", "--count", "2"]
    assert main([*search, "--json", "-"]) == 0
    matches = json.loads(capsys.readouterr().out)["queries"][0]["matches"]
    assert len(matches) == 2
    assert "bert" not in {match.get("person") for match in matches}
    for words, message in (
        (["assign", "4", "--gallery", gallery], "Give either --person or --nobody"),
        (["search", "--gallery", gallery], "Give crops to search for, or --person"),
        (["merge", "bert", "bert", "--gallery", gallery], "to be merged with themselves"),
    ):
        assert main(["gallery", *words]) == 2
        assert message in capsys.readouterr().err


def test_the_group_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["gallery"], ["gallery", "--help"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown for name in SUBCOMMANDS["gallery"])
    assert main(["gallery", "serch"]) == 2
    assert "no command gallery 'serch'. Did you mean search?" in capsys.readouterr().err
