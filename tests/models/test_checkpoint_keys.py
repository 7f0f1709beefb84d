from __future__ import annotations

import json
from pathlib import Path

import pytest

from omnireid.models.checkpoint_keys import layout_of
from omnireid.models.zoo import VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_published_names_and_shapes_to_the_letter(name: str, golden: Path) -> None:
    published = json.loads((golden / "published_keys.json").read_text())[name]
    expected = {key: tuple(shape) for key, shape in published if not key.startswith("classifier.")}
    layout = layout_of(name)
    assert {layout.published_names[own]: shape for own, shape in layout.shapes.items()} == expected
    assert {own: published for published, own in layout.own_names.items()} == layout.published_names
