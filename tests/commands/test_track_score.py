from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.tracking.test_scoring import crossing

from omnireid.cli import main
from omnireid.tracking.mot_files import write_ground_truth, write_results


def test_a_folder_of_cameras_is_scored_apart_and_across(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for camera in ("camera-1", "camera-2"):
        write_ground_truth(tmp_path / "truth" / camera / "gt" / "gt.txt", crossing(False))
        write_results(tmp_path / "tracks" / f"{camera}.txt", crossing(camera == "camera-2"))
    words = ["track-score", str(tmp_path / "tracks"), "--truth", str(tmp_path / "truth"), "--across-cameras"]
    before = set(tmp_path.rglob("*"))
    assert main([*words, "--json", "-"]) == 0
    assert set(tmp_path.rglob("*")) == before
    printed = capsys.readouterr()
    stored = json.loads(printed.out)
    assert stored["sequences"]["camera-1"]["idf1"] == 1
    assert stored["sequences"]["camera-2"]["switches"] == 2
    assert stored["across_cameras"]["idf1"] == 0.75
    assert [line.split()[0] for line in printed.err.splitlines()] == [
        "sequence",
        "camera-1",
        "camera-2",
        "combined",
        "across",
    ]


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ground_truth(tmp_path / "a" / "gt" / "gt.txt", crossing(False))
    write_ground_truth(tmp_path / "b" / "gt" / "gt.txt", crossing(False))
    write_results(tmp_path / "a.txt", crossing(True))
    assert main(["track-score", str(tmp_path / "a.txt"), "--truth", str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:1] == ["a"]
    for words, message in (
        ([str(tmp_path), "--truth", str(tmp_path)], "no tracks of the sequence b"),
        ([str(tmp_path / "a.txt"), "--truth", str(tmp_path)], "a file for each: a.txt, b.txt"),
        ([str(tmp_path / "a.txt"), "--truth", str(tmp_path / "gone")], "There is no ground truth in"),
    ):
        assert main(["track-score", *words]) == 2
        assert message in capsys.readouterr().err
