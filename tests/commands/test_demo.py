from __future__ import annotations

from pathlib import Path

import pytest

from omnireid.cli import main
from omnireid.commands.gallery import load_gallery_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.gallery.gallery import Gallery


@pytest.mark.slow
def test_a_demo_goes_from_footage_to_a_gallery_with_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", str(tmp_path / "d"), "--cameras", "2", "--people", "4", "--seconds", "12", "--no-page"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    commands = [line.split()[2] for line in out.splitlines() if line.startswith("$ omnireid")]
    assert commands == ["synthesize-video", "track", "track", "link", "calibrate", "serve"]
    place = tmp_path / "d" / "people.gallery"
    gallery = Gallery.open(place)
    embedder = load_gallery_embedder(str(place), None, RuntimeOptions())
    assert gallery.model is not None
    assert embedder.weights_sha256 == gallery.model.weights_sha256, "the page finds the network without being told"
    assert "The page shows distances without probabilities" in err, "so short footage has too few pairs"
    assert gallery.people()
    sightings = list(gallery.sightings())
    assert sightings
    assert all(Path(sighting.path).is_file() for sighting in sightings)
    assert {sighting.camera for sighting in sightings} == {"camera-1", "camera-2"}
    assert main(words) == 0
    assert "synthesize-video" not in capsys.readouterr().out, "what is there is served as it is"
