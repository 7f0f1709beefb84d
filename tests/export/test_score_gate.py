from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnireid.embedding.embedder import Embedder
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import ParityError
from omnireid.evaluation.ranking import evaluate_ranking
from omnireid.evaluation.scores import RankingScores
from omnireid.export import score_gate
from omnireid.export.score_gate import check_scores
from omnireid.types import Dataset, Labels, Split
from omnireid.weights.graph_file import Graph

NOBODY = Split((), person_ids=np.empty(0, dtype=np.int64))
TINY = Dataset("two people", "folder", Path(), NOBODY, NOBODY, NOBODY)


@pytest.fixture(scope="module")
def graph(untrained: Path) -> Graph:
    return WeightsFile(untrained).make_graph("fp32")


@pytest.fixture(scope="module")
def perfect() -> RankingScores:
    labels = Labels(np.array([0, 1]), np.array([0, 0])), Labels(np.array([0, 1]), np.array([1, 1]))
    embeddings = np.eye(2, dtype=np.float32)
    return evaluate_ranking(embeddings, embeddings, *labels)


def answer(monkeypatch: pytest.MonkeyPatch, before: RankingScores, after: RankingScores) -> list[Embedder]:
    """Score the weights as `before` and the graph as `after`, whatever the data; return who was scored."""
    scored: list[Embedder] = []

    class Evaluated:
        def __init__(self, scores: RankingScores) -> None:
            self.scores = scores

    def evaluate(embedder: Embedder, _datasets: Any, **_options: Any) -> Evaluated:
        scored.append(embedder)
        return Evaluated(before if len(scored) == 1 else after)

    monkeypatch.setattr(score_gate, "evaluate_embedder", evaluate)
    return scored


def test_a_graph_that_moves_the_scores_within_the_tolerance_passes(
    graph: Graph, untrained: Path, perfect: RankingScores, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = replace(perfect, mean_average_precision=perfect.mean_average_precision - 0.0009)
    scored = answer(monkeypatch, perfect, after)
    compared = check_scores(graph, [TINY], untrained, architecture="osnet_x0_25")
    assert [embedder.precision for embedder in scored] == ["fp32", "fp32"]
    assert (compared.weights, compared.graph) == (perfect, after)
    assert compared.moved_points() == pytest.approx({"rank-1": 0, "mAP": -0.09})


@pytest.mark.parametrize(("precision", "points"), [("fp32", 0.2), ("fp16", -0.2), ("int8", -0.6)])
def test_a_graph_that_moves_them_further_is_refused(
    graph: Graph,
    untrained: Path,
    perfect: RankingScores,
    monkeypatch: pytest.MonkeyPatch,
    precision: Any,
    points: float,
) -> None:
    after = replace(perfect, mean_average_precision=perfect.mean_average_precision + points / 100)
    before = perfect
    if points > 0:
        before, after = replace(perfect, mean_average_precision=0.9), replace(perfect, mean_average_precision=0.902)
    answer(monkeypatch, before, after)
    named = replace(graph, metadata=replace(graph.metadata, precision=precision))
    message = (
        rf"moves mAP by {points:+.2f} points on two people; 0\.[15] are allowed in {precision}\. Nothing was written"
    )
    with pytest.raises(ParityError, match=message.replace("+", r"\+")):
        check_scores(named, [TINY], untrained, architecture=None)
