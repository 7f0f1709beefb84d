"""Graphs in int8. Quantising one takes seconds, so tests share it."""

from __future__ import annotations

from functools import cache

from omnireid.export.quantisation import quantise
from omnireid.images.probes import probe_crops

CALIBRATION = probe_crops(32, 64, 32, seed=1)


@cache
def quantise_once(content: bytes) -> bytes:
    """A graph for crops of 64 × 32 in int8, with nothing kept out."""
    return quantise(content, CALIBRATION)
