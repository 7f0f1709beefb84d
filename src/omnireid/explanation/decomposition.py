"""The likeness of two crops as a sum over places: exact, not an estimate.

The embedding is e = ReLU(W · mean over places p of F_p + b), with the batch norm
folded into W and b; where the mean itself is the embedding, W is the identity
and b is 0. Let m be 1 where e is above zero and 0 elsewhere; where no ReLU
follows, m is 1. For the crop at hand m is fixed, so the rest is linear:

    e = Σ_p m ⊙ W F_p / P  +  m ⊙ b

and so is its dot product with any vector u:

    e · u = Σ_p (m ⊙ W F_p · u) / P  +  m ⊙ b · u

The first sum has one term for each of the P places. The second term belongs to
no place: it is the constant term, and is kept apart.

Shapes: C channels, H rows and W columns of the last feature map, D values of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omnireid.errors import EmbeddingError
from omnireid.explanation.observed_network import Head
from omnireid.types import Crops, DoubleArray, FloatArray


@dataclass(frozen=True, eq=False)
class PlaceMap:
    """A number as the sum of one part for each place of a crop, and a constant term.

    Attributes:
        places: (H, W) float64 parts.
        constant: The part of the head's bias, which belongs to no place.
    """

    places: DoubleArray
    constant: float

    @property
    def total(self) -> float:
        """The number: the sum of all places, plus the constant term."""
        return float(self.places.sum()) + self.constant

    def json(self) -> dict[str, Any]:
        """Places (rows of values) and constant term as plain values."""
        return {"places": self.places.tolist(), "constant": self.constant}


@dataclass(frozen=True, eq=False)
class PairExplanation:
    """Which places of two crops speak for and against their likeness.

    The cosine similarity is decomposed twice: once over the places of the first crop, with the second crop as a
    whole, and once the other way round. Its denominator, the product of both norms, is a fixed factor. Each of the
    two maps has the cosine similarity as its total.

    The squared Euclidean distance, |a − b|² = a · (a − b) + b · (b − a), is decomposed once, over the places of both
    crops. The totals of its two maps add up to it. A positive part speaks against the likeness.

    Attributes:
        first: Position of the first crop in the explanation.
        second: Position of the second crop.
        cosine: Cosine similarity of the two embeddings.
        cosine_maps: Its parts, over the first crop and over the second.
        squared_distance: Squared Euclidean distance of the two embeddings.
        distance_maps: Its parts, over the first crop and over the second.
    """

    first: int
    second: int
    cosine: float
    cosine_maps: tuple[PlaceMap, PlaceMap]
    squared_distance: float
    distance_maps: tuple[PlaceMap, PlaceMap]

    def json(self, crops: Crops) -> dict[str, Any]:
        """The decomposition as plain values, with the paths of the two crops."""
        return {
            "first": str(crops.paths[self.first]),
            "second": str(crops.paths[self.second]),
            "cosine": self.cosine,
            "cosine_maps": [part.json() for part in self.cosine_maps],
            "squared_distance": self.squared_distance,
            "distance_maps": [part.json() for part in self.distance_maps],
        }


def decompose_dot_product(maps: FloatArray, embedding: FloatArray, direction: DoubleArray, head: Head) -> PlaceMap:
    """Spread the dot product of a crop's embedding with a vector over the crop's places.

    Args:
        maps: (C, H, W) last feature map of the crop.
        embedding: (D,) embedding of the crop; where it is 0, a ReLU has cut it off.
        direction: (D,) any vector.
        head: What leads from the maps to the embedding.
    """
    passed = np.where(embedding > 0, direction, 0.0) if head.is_rectified else direction
    places = np.tensordot(passed @ head.weight, maps.astype(np.float64), axes=1)
    return PlaceMap(places / places.size, float(head.bias @ passed))


def decompose_pair(
    positions: tuple[int, int],
    maps: tuple[FloatArray, FloatArray],
    embeddings: tuple[FloatArray, FloatArray],
    head: Head,
) -> PairExplanation:
    """Decompose cosine similarity and squared distance of two crops.

    Args:
        positions: Positions of the two crops, for the record.
        maps: (C, H, W) last feature map of each crop.
        embeddings: (D,) embedding of each crop.
        head: What leads from the maps to the embedding.

    Raises:
        EmbeddingError: An embedding is all zeros, so it has no direction.
    """
    first, second = (embedding.astype(np.float64) for embedding in embeddings)
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    if norms == 0.0:
        raise EmbeddingError(
            f"The embedding of crop {positions[0]} or {positions[1]} is all zeros, so its cosine similarity with "
            "another is not defined. The weights may be damaged: see omnireid inspect."
        )
    difference = first - second
    return PairExplanation(
        *positions,
        cosine=float(first @ second) / norms,
        cosine_maps=(
            decompose_dot_product(maps[0], embeddings[0], second / norms, head),
            decompose_dot_product(maps[1], embeddings[1], first / norms, head),
        ),
        squared_distance=float(difference @ difference),
        distance_maps=(
            decompose_dot_product(maps[0], embeddings[0], difference, head),
            decompose_dot_product(maps[1], embeddings[1], -difference, head),
        ),
    )
