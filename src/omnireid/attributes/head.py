"""A head: the linear map from embeddings to attributes, and the record of how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from omnireid.data.attributes import check_values
from omnireid.embedding.tables import EmbeddingTable
from omnireid.errors import DataError, EmbeddingError, ShapeError, list_briefly
from omnireid.types import BoolArray, FloatArray


@dataclass(frozen=True)
class HeadRecord:
    """How a head was made.

    Attributes:
        weights_sha256: SHA-256 of the weights whose embeddings it was trained on. It is of use to no others.
        model: Name of the network of these weights.
        training_data: Data it was trained on.
        licence: Terms of the head in one line: those of the data and those of the weights.
        crops: Number of training crops.
        people: Number of training people; 0 where people were not known.
        penalty: Weight of the squared norm in training.
        left_out: Attributes of the data that the head lacks, because all training crops agreed in them.
        omnireid_version: Version that trained it.
    """

    weights_sha256: str
    model: str
    training_data: str
    licence: str
    crops: int
    people: int
    penalty: float
    left_out: tuple[str, ...]
    omnireid_version: str

    def json(self) -> dict[str, Any]:
        """The record as plain values."""
        return {**asdict(self), "left_out": list(self.left_out)}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> HeadRecord:
        """Read what `json` wrote. Raises a `KeyError` or `TypeError` where a value is missing."""
        known = {field.name: values[field.name] for field in fields(HeadRecord)}
        return HeadRecord(**{**known, "left_out": tuple(known["left_out"])})


@dataclass(frozen=True, eq=False)
class AttributeHead:
    """A linear map from D-dimensional embeddings to K attributes.

    Attributes:
        names: Names of the attributes.
        weights: (D, K) float32.
        biases: (K,) float32.
        positive_shares: (K,) share of the training crops that have each attribute. The majority baseline follows
            from it.
        record: How the head was made.

    Raises:
        ShapeError: The arrays disagree in shape, or hold a value that is not finite.
    """

    names: tuple[str, ...]
    weights: FloatArray
    biases: FloatArray
    positive_shares: FloatArray
    record: HeadRecord

    def __post_init__(self) -> None:
        for name in ("weights", "biases", "positive_shares"):
            array = np.array(getattr(self, name), dtype=np.float32)
            if not np.isfinite(array).all():
                raise ShapeError(f"The {name} of a head must be finite.")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        count = len(self.names)
        shapes = (self.weights.shape[1:], self.biases.shape, self.positive_shares.shape)
        if self.weights.ndim != 2 or set(shapes) != {(count,)}:
            raise ShapeError(
                f"A head of {count} attributes needs weights (D, {count}), biases and positive shares ({count},); got "
                f"{self.weights.shape}, {self.biases.shape} and {self.positive_shares.shape}."
            )

    def score(self, table: EmbeddingTable) -> FloatArray:
        """(N, K) scores in [0, 1] of the crops of a table. Above 0.5 the crop is taken to have the attribute.

        A score is no probability: training weighs rare attributes up (see `omnireid.attributes.fitting`).

        Raises:
            EmbeddingError: The embeddings were made by other weights than the head was trained on.
        """
        made = table.provenance
        where = "the embeddings" if table.source is None else f"those of {table.source}"
        check_weights(self, made.weights_sha256, made.model, where)
        if table.embeddings.shape[1] != len(self.weights):
            raise EmbeddingError(
                f"The head takes embeddings of {len(self.weights)} values; {where} have {table.embeddings.shape[1]}."
            )
        return self.score_embeddings(table.embeddings)

    def score_embeddings(self, embeddings: FloatArray) -> FloatArray:
        """(N, K) scores of (N, D) embeddings, without asking which weights made them."""
        logits = embeddings @ self.weights + self.biases
        scores: FloatArray = 0.5 * (1 + np.tanh(0.5 * logits))  # the logistic function, without overflow
        return scores

    @property
    def majority(self) -> BoolArray:
        """(K,) whether most training crops have each attribute: what is said without looking."""
        most: BoolArray = self.positive_shares > 0.5
        return most


@dataclass(frozen=True, eq=False)
class AttributedEmbeddings:
    """N embeddings with their K attributes.

    Attributes:
        table: Embeddings, crops and what made them.
        names: Names of the attributes.
        values: (N, K) booleans.
        data: Name of the data.
        licence: Terms of the data in one line.

    Raises:
        DataError: The arrays disagree in length, or the names are no names.
    """

    table: EmbeddingTable
    names: tuple[str, ...]
    values: BoolArray
    data: str = "unknown"
    licence: str = "unknown"

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", check_values(self.values, self.names))
        if len(self.values) != len(self.table):
            raise DataError(f"{len(self.table):,} embeddings but {len(self.values):,} rows of attributes.")

    def __len__(self) -> int:
        return len(self.table)


def check_weights(head: AttributeHead, weights_sha256: str, model: str, where: str) -> None:
    """Check that a head was trained on embeddings of given weights.

    Args:
        head: The head.
        weights_sha256: SHA-256 of the weights.
        model: Name of their network.
        where: What the embeddings are or will be, for the message.

    Raises:
        EmbeddingError: It was trained on those of others; the message names both.
    """
    record = head.record
    if record.weights_sha256 != weights_sha256:
        raise EmbeddingError(
            f"The head was trained on embeddings of {record.model} with weights {record.weights_sha256[:12]}…, but "
            f"{where} come from {model} with weights {weights_sha256[:12]}…. Embed the crops with the head's weights, "
            "or train a head for these (omnireid attributes train)."
        )


def find_shared_names(head: AttributeHead, names: Sequence[str], data: str) -> tuple[str, ...]:
    """The attributes that a head knows and some data has, in the order of the head.

    Args:
        head: The head.
        names: The attributes of the data.
        data: Name of the data, for the message.

    Raises:
        DataError: There is none.
    """
    shared = tuple(name for name in head.names if name in names)
    if not shared:
        raise DataError(
            f"The head knows {list_briefly(head.names)} and {data} has {list_briefly(names)}: they have no "
            "attribute in common. Score the head on data with its own attributes."
        )
    return shared
