from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.gallery.tables import calibrate, crops_of, drawn_embeddings, mean_embedder, table_of

from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions
from omnireid.reports.document import render_html, render_markdown
from omnireid.reports.gallery_report import read_gallery, report_gallery
from omnireid.reports.parts import Chart, Strip, Table


@pytest.fixture
def gallery(tmp_path: Path, crop_folder: Path) -> Gallery:
    """Twelve crops of three people and of one nobody, by two cameras over three days."""
    paths = sorted(crop_folder.iterdir())
    people = [int(path.name[:4]) for path in paths]
    people[0] = -1
    times = [datetime(2026, 3, 1, 8, tzinfo=UTC) + timedelta(hours=6 * row) for row in range(len(paths))]
    crops = crops_of(paths, people, [int(path.name[6]) for path in paths], time=[time.isoformat() for time in times])
    made = Gallery.open(tmp_path / "people.gallery", mean_embedder())
    made.add(crops, keep_all=True)
    return made


def test_a_gallery_is_shown_with_its_people_cameras_times_and_quality(gallery: Gallery) -> None:
    document = report_gallery(read_gallery(gallery, {"written": "<now>"}))
    assert [(tile.label, tile.value) for tile in document.tiles] == [
        ("sightings", "12"),
        ("people", "3"),
        ("of nobody named", "1"),
        ("cameras", "2"),
    ]
    sections = {section.title: section for section in document.sections}
    time, quality = (sections[title].blocks[0] for title in ("When", "Quality"))
    assert isinstance(time, Chart)
    assert isinstance(quality, Chart)
    assert "days since 2026-03-01 08:00 UTC" in time.svg
    cameras = sections["Cameras"].blocks[0]
    assert isinstance(cameras, Table)
    assert cameras.rows[0] == ("1", "6", "3", "2026-03-01 08:00", "2026-03-03 14:00")
    page = render_html(document)
    assert "&lt;now&gt;" in page
    assert page.count("data:image/jpeg") == 2
    hidden = report_gallery(read_gallery(gallery, {}, hides_crops=True))
    assert "data:image" not in render_html(hidden)


def test_the_nearest_to_nobody_named_is_shown_with_its_probability(gallery: Gallery) -> None:
    first = gallery.near_pairs()[0]
    everything = gallery.search([gallery.sightings()[0].path], 2)[0]
    assert (first.unnamed.number, first.other.number) == (1, everything[1].sighting.number)
    assert first.distance == pytest.approx(everything[1].distance, abs=0.1), "one is rounded to float16"
    assert first.probability is None
    calibrate(gallery, {0.0: 9.0, 1.0: 5.0, 1000.0: -5.0})
    known = gallery.near_pairs()[0]
    expected = gallery.search([gallery.sightings()[0].path], 2)[0][1]
    assert known.probability == pytest.approx(expected.probability, abs=0.05)
    assert known.verdict == expected.verdict
    strip = next(s for s in report_gallery(read_gallery(gallery, {})).sections if s.title.startswith("Nearest")).blocks[
        0
    ]
    assert isinstance(strip, Strip)
    assert f"% one person ({known.verdict})" in strip.title


def test_pairs_of_unnamed_sightings_are_listed_once(tmp_path: Path) -> None:
    table = table_of(6, people=[-1, -1, -1, 4, 4, 4])
    embeddings = drawn_embeddings(6)
    embeddings[1] = embeddings[0]
    gallery = Gallery.open(tmp_path / "g")
    gallery.add(replace(table, embeddings=embeddings))
    pairs = gallery.near_pairs()
    assert {pairs[0].unnamed.number, pairs[0].other.number} == {1, 2}
    assert pairs[0].distance == pytest.approx(0, abs=1e-3)
    numbers = [frozenset((pair.unnamed.number, pair.other.number)) for pair in pairs]
    assert len(set(numbers)) == len(numbers) == 2
    for pair in pairs:
        distances = np.linalg.norm(embeddings - embeddings[pair.unnamed.number - 1], axis=1)
        distances[pair.unnamed.number - 1] = np.inf
        assert pair.distance == pytest.approx(distances.min(), abs=1e-3)
    assert len(gallery.near_pairs(1)) == 1
    assert Gallery.open(tmp_path / "g").assign([1, 2, 3], "anna")
    assert gallery.near_pairs() == ()


def test_decisions_and_erasures_are_listed_and_a_report_is_not_logged(gallery: Gallery) -> None:
    gallery.merge("1", ["2"], reason="same | coat")
    gallery.undo()
    gallery.search(gallery.sightings(SightingFilter()).table.column("path").to_pylist()[:1], 1)
    receipt = gallery.remove(ErasureOptions(person=("3",)))
    before = len(gallery.audit())
    reported = read_gallery(gallery, {})
    text = render_markdown(report_gallery(reported))
    assert len(gallery.audit()) == before
    assert "merge (undone)" in text
    assert "same \\| coat" in text
    assert receipt.signature[:16] in text
    assert "add 1, merge 1, remove 1, search 1, undo 1" in text
    record = json.loads(json.dumps(reported.json()))
    assert record["erasures"][0]["details"]["sightings"] == receipt.sightings == 4
    assert len(record["decisions"]) == 2


def test_an_empty_gallery_is_shown_too(tmp_path: Path) -> None:
    gallery = Gallery.open(tmp_path / "g")
    gallery.add(table_of(2))
    gallery.remove(ErasureOptions(camera=("0", "1")))
    text = render_markdown(report_gallery(read_gallery(gallery, {})))
    assert "Nobody has a name yet" in text
    assert "Nobody has decided" in text
