from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data import fabrication

from omnireid.cli import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fabrication.market(tmp_path / "Market-1501-v15.09.15")


def test_it_says_what_it_sees_and_stores_it(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(root), "--json", str(tmp_path / "out" / "doctor.json")]) == 0
    printed = capsys.readouterr().out
    assert f"market1501 (layout market1501) in {root}" in printed
    assert "warning: The counts are not the published ones." in printed
    assert "what to do: Unpack the archive again" in printed
    stored = json.loads((tmp_path / "out" / "doctor.json").read_text(encoding="utf-8"))
    assert (stored["dataset"], stored["usable"], stored["decoded"]) == ("market1501", True, True)


def test_data_that_cannot_be_evaluated_leaves_with_2_after_the_report(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "query" / "0003_c1s1_000001_00.jpg").write_text("no picture")
    assert main(["doctor", str(root), "--json", str(tmp_path / "doctor.json")]) == 2
    output = capsys.readouterr()
    assert "error: 1 of 9 files cannot be read as images." in output.out
    assert output.err.splitlines()[-1] == (
        f"error: {root} cannot be evaluated as it is: see the 1 error(s) in the report above."
    )
    assert "Traceback" not in output.err
    assert json.loads((tmp_path / "doctor.json").read_text(encoding="utf-8"))["usable"] is False


def test_fast_does_not_read_the_files(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "query" / "0003_c1s1_000001_00.jpg").write_text("no picture")
    assert main(["doctor", str(root), "--fast"]) == 0
    assert "The files were not read (fast)" in capsys.readouterr().out


def test_the_layout_may_be_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(root), "--layout", "viper"]) == 2
    assert "nor a folder in it is a viper" in capsys.readouterr().err


def test_a_missing_folder_is_an_error_without_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: There is no ")


def test_the_published_split_and_the_seed_may_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    viper = fabrication.viper(tmp_path / "VIPeR", (1, 2, 3, 4), [((1, 2), (3, 4)), ((3, 4), (1, 2))])
    report = tmp_path / "doctor.json"
    assert main(["doctor", str(viper), "--fast", "--split-index", "3", "--json", str(report)]) == 0
    assert json.loads(report.read_text(encoding="utf-8"))["split_index"] == 3
    assert main(["doctor", str(viper), "--fast", "--split-index", "20"]) == 2
    assert "viper has 20 split(s), counted from 0; there is no split 20" in capsys.readouterr().err
    own = fabrication.touch(tmp_path / "own", [f"{who}/{n}.jpg" for who in "abcd" for n in (1, 2)])
    assert main(["doctor", str(own), "--fast", "--seed", "7"]) == 0
    assert "Split automatically with seed 7" in capsys.readouterr().out


def test_the_report_never_replaces_the_data(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "synthetic.json").write_text("{}")
    assert main(["doctor", str(root), "--json", str(root / "synthetic.json")]) == 2
    assert "it is an input of this command" in capsys.readouterr().err
    assert main(["doctor", str(root), "--json", str(root / "query")]) == 2
    assert "is a folder or a device" in capsys.readouterr().err
    assert (root / "synthetic.json").read_text() == "{}"
