from __future__ import annotations

from pathlib import Path

import pytest

from omnireid.attributes import head_file
from omnireid.attributes.head_file import HEADS_FOLDER, read_attribute_head
from omnireid.errors import WeightsNotFoundError
from omnireid.files import sha256_of
from omnireid.weights.shipped import DEFAULT_WEIGHTS, weights_folder


def test_the_head_that_ships_fits_the_default_weights() -> None:
    """If this fails, the default weights were replaced: train the head again, with the command in weights/README.md."""
    record = read_attribute_head().record
    assert record.weights_sha256 == sha256_of(weights_folder() / f"{DEFAULT_WEIGHTS}.safetensors")
    assert "research" in record.licence


def test_the_head_that_ships_is_small_and_sorts_nobody_by_sex_or_age() -> None:
    assert (HEADS_FOLDER / f"{DEFAULT_WEIGHTS}.safetensors").stat().st_size < 100_000
    names = read_attribute_head().names
    assert len(names) == 25
    assert not [name for name in names if name == "female" or name.startswith("age")]


def test_a_build_without_a_head_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_file, "HEADS_FOLDER", tmp_path)
    with pytest.raises(WeightsNotFoundError, match="omnireid attributes train"):
        read_attribute_head()
