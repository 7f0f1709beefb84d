from __future__ import annotations

from pathlib import Path

from tests.data import fabrication

from omnireid.data.datasets import load_dataset


def test_duke_is_told_from_market_by_its_names(tmp_path: Path) -> None:
    dataset = load_dataset(fabrication.duke(tmp_path / "DukeMTMC-reID"))
    assert dataset.name == dataset.layout == "dukemtmcreid"
    assert dataset.train.person_ids.tolist() == [1, 1]
    assert dataset.gallery.person_ids.tolist() == [5, 6]
    assert dataset.gallery.camera_ids is not None
    assert dataset.gallery.camera_ids.tolist() == [5, 5]


def test_its_withdrawal_is_told(tmp_path: Path) -> None:
    dataset = load_dataset(fabrication.duke(tmp_path), "dukemtmcreid")
    assert any("withdrawn by its authors in 2019" in note for note in dataset.notes)
    assert "withdrawn" in dataset.licence
    assert any(note.startswith("gallery has 2 images (published: 17,661)") for note in dataset.notes)
