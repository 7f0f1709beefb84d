"""How a gallery is ranked for a query."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from omnireid.errors import SettingError
from omnireid.terms import Distance, Protocol


@dataclass(frozen=True)
class Reranking:
    """Settings of re-ranking. The defaults are the paper's for Market-1501.

    Attributes:
        k1: Neighbourhood size in which k-reciprocal neighbours are looked for, not counting the crop itself.
        k2: Number of nearest crops, the crop itself included, whose encodings are averaged; 1 averages nothing.
        lambda_value: Weight of the original distance in the result, from 0 to 1. The rest is the Jaccard distance.

    Raises:
        SettingError: a value is out of range; the message names it.
    """

    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3

    def __post_init__(self) -> None:
        for name in ("k1", "k2"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:
                raise SettingError(f"{name} of re-ranking must be a whole number, at least 1; got {value}.")
        if not 0 <= self.lambda_value <= 1:
            raise SettingError(
                "lambda_value of re-ranking must be from 0 (Jaccard distance alone) to 1 (original distance alone); "
                f"got {self.lambda_value}."
            )


@dataclass(frozen=True)
class QueryExpansion:
    """Settings of query expansion.

    Attributes:
        count: Number of nearest gallery crops that are averaged with the query.
        alpha: Exponent for the weights. The query has weight 1, and a crop its cosine similarity to the query
            (0 where that is negative) to the power alpha. 0 is the plain average (AQE); 3 is the paper's choice for
            α-QE.

    Raises:
        SettingError: a value is out of range; the message names it.
    """

    count: int = 5
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.count, Integral) or self.count < 1:
            raise SettingError(
                f"count of query expansion must be a whole number, at least 1; got {self.count}. To expand nothing, "
                "leave query expansion out."
            )
        if not (self.alpha >= 0 and math.isfinite(self.alpha)):
            raise SettingError(
                f"alpha of query expansion must be 0 (the plain average) or a positive number; got {self.alpha}."
            )


@dataclass(frozen=True, kw_only=True)
class RankingOptions:
    """How a gallery is ranked for a query, and which of its crops count.

    Attributes:
        distance: Distance between two embeddings. By default the one the weights were trained for.
        protocol: Rule that decides which gallery crops a query is scored against. By default the one the data set
            is published with.
        rerank: Re-rank each query's gallery by k-reciprocal encoding. Not possible with single-gallery-shot.
        k1: Neighbourhood size k1 for re-ranking (default 20).
        k2: Number of nearest crops whose encodings re-ranking averages (default 6); 1 averages nothing.
        lambda_value: Weight of the original distance in re-ranking, from 0 to 1 (default 0.3).
        expand: Average each query with its N nearest gallery crops before the search. Like re-ranking, it needs one
            gallery, which single-gallery-shot has not.
        alpha: Exponent for weighting the crops of query expansion by their similarity. The default 0 is the plain
            average.

    Raises:
        SettingError: a setting of re-ranking or query expansion is given without it, or is out of range.

    >>> RankingOptions(rerank=True, k1=10).reranking
    Reranking(k1=10, k2=6, lambda_value=0.3)
    """

    distance: Distance | None = None
    protocol: Protocol | None = None
    rerank: bool = False
    k1: int | None = None
    k2: int | None = None
    lambda_value: float | None = None
    expand: int | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("k1", "k2", "lambda_value") if getattr(self, name) is not None]
        if given and not self.rerank:
            flags = ", ".join(f"{name} (--{name.replace('_', '-')})" for name in given)
            raise SettingError(f"{flags}: used only by re-ranking, which is off. Turn it on with rerank (--rerank).")
        if self.alpha is not None and self.expand is None:
            raise SettingError(
                "alpha (--alpha): used only by query expansion, which is off. Turn it on with expand (--expand N)."
            )
        _ = self.reranking, self.expansion  # checked at birth

    @property
    def reranking(self) -> Reranking | None:
        """The re-ranking these options ask for, or None."""
        given = {"k1": self.k1, "k2": self.k2, "lambda_value": self.lambda_value}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return Reranking(**chosen) if self.rerank else None

    @property
    def expansion(self) -> QueryExpansion | None:
        """The query expansion these options ask for, or None."""
        return None if self.expand is None else QueryExpansion(self.expand, self.alpha or 0.0)
