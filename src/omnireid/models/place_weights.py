"""Weights for the places of a map, for maps of any size."""

from __future__ import annotations

import numpy as np

from omnireid.models.osnet_config import WEIGHTED_PLACES
from omnireid.types import DoubleArray


def spread_weights(height: int, width: int) -> tuple[DoubleArray, DoubleArray]:
    """Matrices R and C with which weights w of 16×8 places become weights R w Cᵀ of other places, bilinearly.

    Args:
        height: Rows of the maps.
        width: Columns of the maps.

    Returns:
        (height, 16) and (width, 8).
    """
    rows, columns = WEIGHTED_PLACES
    return _interpolation(rows, height), _interpolation(columns, width)


def last_map_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of OSNet's last maps for an image of `height` × `width` pixels."""
    return _last_side(height), _last_side(width)


def _last_side(side: int) -> int:
    for _ in range(2):  # conv1 and its pooling, which round up
        side = (side + 1) // 2
    return side // 2 // 2  # the pooling of transition2 and transition3, which rounds down


def _interpolation(old: int, new: int) -> DoubleArray:
    """(new, old) weights of linear interpolation between the centres of places; the borders are continued."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    before = np.minimum(np.floor(centres).astype(np.int64), old - 1)
    after = np.minimum(before + 1, old - 1)
    share = centres - before
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new), before), 1 - share)
    np.add.at(matrix, (np.arange(new), after), share)
    return matrix
