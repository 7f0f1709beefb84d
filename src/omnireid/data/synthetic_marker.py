"""The file that marks a drawn data set. It stands here since reading such a set does not need the drawing code."""

from __future__ import annotations

from pathlib import Path

MARKER = "synthetic.json"
"""Name of the file in a synthetic data set's root that holds every parameter it was drawn with."""

MARKER_KEY = "omnireid_synthetic"
"""The key in that file for the version of the drawing code."""

SYNTHETIC_LICENCE = "drawn by omnireid; free to use (Apache-2.0)"
"""Terms of a drawn data set."""


def is_synthetic(folder: Path) -> bool:
    """Whether ``omnireid synthesize`` drew this folder."""
    marker = folder / MARKER
    return marker.is_file() and MARKER_KEY in marker.read_text(encoding="utf-8", errors="replace")
