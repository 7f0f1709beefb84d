"""The gate on scores: a graph passes if a data set scores the same with it as with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnireid.embedding.embedder import Embedder, load_embedder
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import ParityError
from omnireid.evaluation.embedder_scores import evaluate_embedder
from omnireid.evaluation.scores import RankingScores
from omnireid.export.graph_network import open_graph
from omnireid.types import Dataset
from omnireid.weights.graph_file import Graph, GraphPrecision

ALLOWED_POINTS: Mapping[GraphPrecision, float] = {"fp32": 0.1, "fp16": 0.1, "int8": 0.5}
"""Percentage points that rank-1 and mAP may move, by the precision of the graph."""


@dataclass(frozen=True, eq=False)
class ScoreComparison:
    """Scores of the same data set before and after an export.

    Attributes:
        dataset: Name of the data set.
        weights: Scores of the weights in float32.
        graph: Scores of the graph.
    """

    dataset: str
    weights: RankingScores
    graph: RankingScores

    def moved_points(self) -> dict[str, float]:
        """Percentage points by which the graph scores higher (negative: lower), by score."""
        before, after = self.weights, self.graph
        return {
            "rank-1": 100 * (after.rank1 - before.rank1),
            "mAP": 100 * (after.mean_average_precision - before.mean_average_precision),
        }


def check_scores(
    graph: Graph, datasets: Sequence[Dataset], weights: Path, *, architecture: str | None, progress: bool = False
) -> ScoreComparison:
    """Score the weights in float32 and the graph, in both cases as their metadata says.

    Args:
        graph: The sealed graph.
        datasets: A data set, or the published splits of one.
        weights: File the graph was made from.
        architecture: Name of the network, needed only for a checkpoint whose keys fit several.
        progress: Show progress bars on standard error.

    Raises:
        ParityError: Rank-1 or mAP moves by more than `ALLOWED_POINTS`.
        NoTrueMatchError: No query has a true match.
    """
    options = RuntimeOptions(runtime="onnxruntime", precision="fp32", architecture=architecture, device="cpu")
    before = load_embedder(weights, options)
    after = Embedder(before.metadata, weights, before.weights_sha256, open_graph(graph))
    compared = ScoreComparison(
        datasets[0].name,
        evaluate_embedder(before, datasets, progress=progress).scores,
        evaluate_embedder(after, datasets, progress=progress).scores,
    )
    allowed = ALLOWED_POINTS[graph.metadata.precision]
    moved = {name: points for name, points in compared.moved_points().items() if abs(points) > allowed}
    if moved:
        raise ParityError(
            f"The exported graph moves {' and '.join(f'{name} by {points:+.2f}' for name, points in moved.items())} "
            f"points on {compared.dataset}; {allowed} are allowed in {graph.metadata.precision}. Nothing was written. "
            "Use a higher precision; for int8, more crops that are like those the graph will see may help too."
        )
    return compared
