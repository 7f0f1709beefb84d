from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from omnireid import create_model
from omnireid.cli import main


def test_an_artefact(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(untrained)]) == 0
    shown = capsys.readouterr().out
    for expected in ("omnireid artefact", "osnet_x0_25", "201,864", "64 × 32", "euclidean", "Apache-2.0"):
        assert expected in shown
    assert main(["inspect", str(untrained), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metadata"]["architecture"] == "osnet_x0_25"
    assert record["parameters"] == 201_864


def test_a_checkpoint_that_cannot_be_used_is_reported_key_by_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = create_model("osnet_x0_25").state_dict()
    half = {f"module.{key}": value for key, value in list(state.items())[: len(state) // 2]}
    path = tmp_path / "half.pth"
    torch.save({"state_dict": half, "epoch": 3}, path)
    assert main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert "under 'state_dict', prefix 'module.', beside epoch" in captured.out
    assert "missing: " in captured.out
    assert "licence" in captured.out
    assert "unknown: find out before you use it" in captured.out
    assert "does not cover the backbone" in captured.err
    assert main(["inspect", str(path), "--json"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert 0 < record["coverage"]["backbone_coverage"] < 1


@pytest.mark.real
def test_the_public_file_is_recognised(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shared / "weights" / "osnet_x0_25_market1501.pth")]) == 0
    shown = capsys.readouterr().out
    assert "osnet_x0_25.market1501" in shown
    assert "research only" in shown
    assert "751 identities" in shown
    assert "100 % of the backbone" in shown
