from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from omnireid.cli import main

pytest.importorskip("av")


def test_footage_and_its_picture_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, picture = tmp_path / "footage", tmp_path / "footage.webp"
    words = ["--cameras", "1", "--people", "3", "--seconds", "2", "--frame-rate", "5", "--height", "180"]
    assert main(["synthesize-video", str(folder), *words, "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert f"{folder}: 1 cameras, 10 frames each" in printed
    assert "places are in cameras.json" in printed
    with Image.open(picture) as animation:
        assert animation.format == "WEBP"
        assert getattr(animation, "n_frames", 1) > 1
    assert main(["synthesize-video", str(folder), *words]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["synthesize-video", str(tmp_path / "other"), "--frame-rate", "0"]) == 2
    assert "frame_rate must be 1 to 60" in capsys.readouterr().err
