from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.gallery.test_clustering import CALIBRATION, assigned, people_gallery

from omnireid.cli import main
from omnireid.gallery.gallery import Gallery
from omnireid.retrieval.calibration import write_calibration


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnireid.gallery.database._flush", lambda _path: True)


@pytest.fixture
def opened(tmp_path: Path) -> Gallery:
    """Five people with eight sightings each; the first is in two halves, and one sighting of the second has no name."""
    labels = {number: 10 + (number - 1) // 4 for number in range(1, 9)} | dict.fromkeys(range(10, 17), 20)
    gallery = people_gallery(tmp_path / "g", labels | {number: 30 + (number - 1) // 8 for number in range(17, 41)})
    gallery.set_calibration(CALIBRATION)
    return gallery


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard input as a terminal; what is written to the returned handle is typed there."""
    pty = pytest.importorskip("pty")
    keyboard, device = pty.openpty()
    with os.fdopen(device, "r") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield keyboard
    os.close(keyboard)


def test_people_are_proposed_applied_and_taken_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gallery = people_gallery(tmp_path / "g")
    words = ["gallery", "cluster", "--gallery", gallery.database.uri, "--k1", "7", "--k2", "2"]
    assert main([*words, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["new_people"] == 5
    assert json.loads(out)["event"] is None
    assert "No sighting has a camera and a time or frame" in err
    assert "Nothing was changed; --apply" in err
    assert assigned(gallery) == {}
    assert main([*words, "--method", "hdbscan", "--apply", "--reason", "a first guess"]) == 0
    assert "cluster 40 sightings into 5 people: a first guess" in capsys.readouterr().out
    assert len(assigned(gallery)) == 5
    assert main(["gallery", "undo", "--gallery", gallery.database.uri]) == 0
    assert assigned(gallery) == {}
    assert main([*words, "--threshold", "2"]) == 2
    assert "threshold must be a Jaccard distance" in capsys.readouterr().err
    assert main(["gallery", "cluster", "--gallery", str(tmp_path / "none")]) == 2
    assert "There is no gallery at" in capsys.readouterr().err


def test_questions_are_listed_for_machines(opened: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gallery", "review", "--gallery", opened.database.uri, "--prior", "0.5", "--count", "2"]
    picture = tmp_path / "pairs.png"
    assert main([*words, "--json", "-", "--picture", str(picture)]) == 0
    first, second = json.loads(capsys.readouterr().out)["questions"]
    assert {first["one"]["person"], first["other"]["person"]} == {"10", "11"}
    assert (first["verdict"], first["changed"], second["changed"]) == ("ask", 4, 1)
    with Image.open(picture) as drawn:
        assert drawn.size[1] > drawn.size[0], "two pairs, one under the other"
    numbers = [str(first[side]["sighting"]) for side in ("one", "other")]
    assert main(["gallery", "differ", *numbers, "--gallery", opened.database.uri]) == 0
    capsys.readouterr()
    assert main([*words, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"][0]["changed"] == 1


def test_a_review_needs_a_terminal_and_a_calibration(
    opened: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["gallery", "review", "--gallery", opened.database.uri]) == 2
    assert "asks at a terminal, and standard input is none. List the questions with --json -" in capsys.readouterr().err
    opened.set_calibration(None)
    assert main(["gallery", "review", "--gallery", opened.database.uri, "--json", "-"]) == 2
    assert "has no calibration" in capsys.readouterr().err
    write_calibration(CALIBRATION, tmp_path / "calibration.json")
    assert main(["gallery", "calibrate", str(tmp_path / "calibration.json"), "--gallery", opened.database.uri]) == 0
    assert main(["gallery", "review", "--gallery", opened.database.uri, "--json", "-", "--count", "0"]) == 2
    assert "count" in capsys.readouterr().err


def test_one_key_answers_a_question(
    opened: Gallery, tmp_path: Path, terminal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "pair.png"
    # x is no answer; then: different, take it back, the same person, skip, quit.
    os.write(terminal, b"xdusKq")
    words = ["gallery", "review", "--gallery", opened.database.uri, "--prior", "0.5"]
    assert main([*words, "--count", "3", "--picture", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "[s]ame  [d]ifferent  s[k]ip  [u]ndo  [q]uit: d" in shown
    assert "1 questions answered" in shown
    assert [decision.kind for decision in opened.decisions()] == ["differ", "undo", "merge"]
    assert assigned(opened)["10"] == list(range(1, 9))
    assert picture.exists()
    os.write(terminal, b"uq")
    assert main([*words, "--count", "1"]) == 0
    shown = capsys.readouterr().out
    assert "Nothing was answered yet" in shown
    assert "0 questions answered" in shown
