"""The file by which a drawn data set is known. Apart from the drawing, which reading one does not need."""

from __future__ import annotations

from pathlib import Path

MARKER = "synthetic.json"
"""The file in the root of a synthetic data set that says so, with every parameter it was drawn with."""

MARKER_KEY = "omnireid_synthetic"
"""Its key that holds the version of the drawing."""


def is_synthetic(folder: Path) -> bool:
    """Whether ``omnireid synthesize`` drew this folder."""
    marker = folder / MARKER
    return marker.is_file() and MARKER_KEY in marker.read_text(encoding="utf-8", errors="replace")
