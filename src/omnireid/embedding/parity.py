"""How close the embeddings of two runtimes or precisions are, and how close they must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from omnireid.embedding.options import Precision
from omnireid.errors import ShapeError
from omnireid.types import FloatArray


@dataclass(frozen=True)
class Parity:
    """Cosines between two embeddings of each crop, made in two ways.

    Attributes:
        smallest: Cosine of the worst crop; NaN if an embedding is not finite.
        mean: Mean cosine over the crops.
        crops: Number of crops compared.
    """

    smallest: float
    mean: float
    crops: int


@dataclass(frozen=True)
class Gate:
    """The parity that is required: the cosines must be at least this large."""

    smallest: float
    mean: float

    def passes(self, parity: Parity) -> bool:
        """Whether the cosines are large enough. NaN never is."""
        return parity.smallest >= self.smallest and parity.mean >= self.mean


GATES: Mapping[Precision, Gate] = {
    "fp32": Gate(smallest=0.99999, mean=0.99999),
    "fp16": Gate(smallest=0.99, mean=0.999),
    "bf16": Gate(smallest=0.99, mean=0.999),
    # What int8 costs shows in the ranking, where export measures it. This gate only recognises a broken graph.
    "int8": Gate(smallest=0.9, mean=0.98),
}
"""Precision to the gate it must pass against float32."""


def compare_embeddings(reference: FloatArray, found: FloatArray) -> Parity:
    """Cosines between aligned rows of two (N, D) arrays of embeddings. Two zero rows agree.

    Raises:
        ShapeError: the arrays differ in shape, or are empty.
    """
    if reference.shape != found.shape or not len(reference):
        raise ShapeError(
            f"Embeddings to compare must have one shape and at least one row; got {reference.shape}, {found.shape}."
        )
    one, other = reference.astype(np.float64), found.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.asarray(~one.any(axis=1) & ~other.any(axis=1), dtype=np.float64)
    np.divide((one * other).sum(axis=1), lengths, out=cosines, where=lengths != 0)
    return Parity(float(cosines.min()), float(cosines.mean()), len(cosines))
