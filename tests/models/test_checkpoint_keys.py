from __future__ import annotations

import json
from pathlib import Path

import pytest

from omnireid.models.zoo import ARCHITECTURES

PUBLISHED = [name for name, known in ARCHITECTURES.items() if name.startswith("osnet") and known.publishers]


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_translate_to_published_names_to_the_letter(name: str, golden: Path) -> None:
    published = json.loads((golden / "published_keys.json").read_text())[name]
    expected = {key: tuple(shape) for key, shape in published if not key.startswith("classifier.")}
    layout = ARCHITECTURES[name].key_layout
    names = layout.published_names["torchreid"]
    assert {names[own]: shape for own, shape in layout.shapes.items()} == expected
    classifier = {f"classifier.{kind}": f"classifier.{kind}" for kind in ("weight", "bias")}
    assert {own: published for published, own in layout.own_names["torchreid"].items()} == {**names, **classifier}


def test_a_network_that_nobody_published_has_our_names_only() -> None:
    layout = ARCHITECTURES["osnet_x0_25_two_streams"].key_layout
    assert "conv2.0.streams.1.1.norm.running_mean" in layout.shapes
    assert (dict(layout.own_names), dict(layout.published_names)) == ({}, {})
