"""Weights that others have trained and published. None of them ships with this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class PublishedFile:
    """One file of published weights.

    Attributes:
        name: Its name at the publisher's.
        sha256: Its SHA-256, 64 hexadecimal digits; None where no copy was at hand to compute it.
        size: Its size in bytes; None where no copy was at hand.
        url: An address that is known to give these bytes; None where there is no such address to rely on.
    """

    name: str
    sha256: str | None = None
    size: int | None = None
    url: str | None = None


@dataclass(frozen=True)
class WeightsScores:
    """What weights score on the test split of a data set.

    Attributes:
        dataset: The data set.
        distance: The distance the ranking was made with.
        rank1: Rank-1, a fraction.
        mean_average_precision: Mean average precision, a fraction; None where it was not reported.
    """

    dataset: str
    distance: str
    rank1: float
    mean_average_precision: float | None


@dataclass(frozen=True)
class PublishedWeights:
    """Weights under the full name they have here.

    Attributes:
        name: The publisher, a slash, and the publisher's weights: the network, a dot, the training data.
        architecture: The network, as `omnireid.models.zoo` or its publisher names it.
        training_data: What the identities were learned from.
        licence: Its terms in one line.
        page: Where its publisher offers it.
        files: Its files; the first is the one to name as weights.
        parameters: Learned values without a classifier; None where `omnireid.models.zoo` has them.
        published_scores: What its publisher reports.
        measured_scores: What we measured, in float32; empty where no copy was at hand.
    """

    name: str
    architecture: str
    training_data: str
    licence: str
    page: str
    files: tuple[PublishedFile, ...]
    parameters: int | None = None
    published_scores: tuple[WeightsScores, ...] = ()
    measured_scores: tuple[WeightsScores, ...] = ()

    @property
    def publisher(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    @property
    def size(self) -> int | None:
        """Bytes of all its files; None where one of them is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def json(self) -> dict[str, Any]:
        """The record as plain values."""
        return {"publisher": self.publisher, "size": self.size, **asdict(self)}

    def how_to_get(self) -> str:
        """Where to get the files and how to check them, for somebody who has named these weights."""
        lines = [f"Get {' and '.join(file.name for file in self.files)} from {self.page}"]
        for file in self.files:
            if file.sha256 is None:
                lines.append(f"no SHA-256 of {file.name} is known here, so check the scores with omnireid evaluate")
            else:
                lines.append(f"check that sha256sum {file.name} prints {file.sha256}")
        return f"{'; '.join(lines)}. Then name the file: --weights {self.files[0].name}"


_TORCHREID_PAGE = "https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO"


def _torchreid(
    architecture: str,
    rank1: float,
    mean_average_precision: float,
    *,
    sha256: str | None = None,
    size: int | None = None,
    measured: tuple[WeightsScores, ...] = (),
) -> PublishedWeights:
    """Weights that Torchreid's model zoo offers, trained on Market-1501 and scored by Euclidean distance."""
    return PublishedWeights(
        name=f"torchreid/{architecture}.market1501",
        architecture=architecture,
        training_data="Market-1501",
        licence="research-only training data (code MIT)",
        page=_TORCHREID_PAGE,
        files=(PublishedFile(f"{architecture}_market1501.pth", sha256, size),),
        published_scores=(WeightsScores("Market-1501", "euclidean", rank1, mean_average_precision),),
        measured_scores=measured,
    )


def _by_name(*published: PublishedWeights) -> Mapping[str, PublishedWeights]:
    return MappingProxyType({weights.name: weights for weights in published})


PUBLISHED_WEIGHTS: Mapping[str, PublishedWeights] = _by_name(
    _torchreid("osnet_x1_0", 0.942, 0.826),
    _torchreid("osnet_x0_75", 0.937, 0.812),
    _torchreid("osnet_x0_5", 0.925, 0.798),
    _torchreid(
        "osnet_x0_25",
        0.912,
        0.750,
        sha256="c0ff09177a21417a19bc73bbf5af4eb5d2b097c2074ed35e67819ee6cd93612c",
        size=2_462_783,
        measured=(
            WeightsScores("Market-1501", "euclidean", 0.9118, 0.7494),
            WeightsScores("Market-1501", "cosine", 0.9148, 0.7739),
        ),
    ),
)
"""Full name to record."""


def find_published_file(sha256: str) -> PublishedWeights | None:
    """The published weights that a file with this SHA-256 belongs to; None where it is not known here."""
    for weights in PUBLISHED_WEIGHTS.values():
        if any(file.sha256 == sha256 for file in weights.files):
            return weights
    return None


def suggest_published(name: str) -> PublishedWeights | None:
    """The published weights whose name is closest to `name`, with or without its publisher; None where none is."""
    by_word: dict[str, PublishedWeights] = {}
    for weights in PUBLISHED_WEIGHTS.values():
        by_word |= {weights.name: weights, weights.name.partition("/")[2]: weights}
    closest = get_close_matches(name, by_word, n=1, cutoff=0.9)
    return by_word[closest[0]] if closest else None
