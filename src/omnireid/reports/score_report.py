"""A report of scores that were written as JSON: what they hold, without embeddings or crops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnireid.errors import DataError
from omnireid.evaluation.scores import CameraPair, RankingScores, describe_reordering
from omnireid.reports.parts import Document, Section
from omnireid.reports.score_sections import camera_sections, draw_cmc, fact_table, score_section, score_tiles
from omnireid.retrieval.options import QueryExpansion, Reranking

_FACTS = {
    "dataset": "data set",
    "licence": "licence of the data",
    "model": "architecture",
    "weights_sha256": "SHA-256 of the weights",
    "weights_licence": "licence of the weights",
    "training_data": "trained on",
    "runtime": "runtime",
    "precision": "precision",
    "notes": "notes",
    "omnireid_version": "omnireid",
    "seconds": "seconds",
}
"""Keys of the JSON that say where scores come from, and their names in a report."""


def read_scores(record: Mapping[str, Any], name: str) -> RankingScores:
    """The scores that ``omnireid evaluate --json`` wrote.

    Args:
        record: The content of the file.
        name: Its name, for the message.

    Raises:
        DataError: it holds no scores of one data set.
    """
    if "datasets" in record:
        raise DataError(f"{name} holds the scores of several data sets. Report on one: omnireid evaluate --data ONE.")
    kept = {field: record[field] for field in RankingScores.__dataclass_fields__ if field in record}
    try:
        reranking, expansion = record.get("reranking"), record.get("query_expansion")
        scores = RankingScores(
            **kept
            | {
                "cmc": tuple(map(float, record["cmc"])),
                "intervals": {score: (low, high) for score, (low, high) in record["intervals"].items()},
                "camera_pairs": tuple(CameraPair(**pair) for pair in record["camera_pairs"]),
                "warnings": tuple(record["warnings"]),
                "reranking": None if reranking is None else Reranking(**reranking),
                "expansion": None if expansion is None else QueryExpansion(**expansion),
            }
        )
        _ = scores.rank20, f"{scores.mean_average_precision:.3f}{scores.mean_inverse_negative_penalty:.3f}"
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"{name} holds no scores ({error!r}). Give a file that omnireid evaluate --json has written."
        ) from error
    return scores


def report_scores(scores: RankingScores, record: Mapping[str, Any], title: str) -> Document:
    """Lay out a report of scores.

    Args:
        scores: The scores.
        record: The file they are from, which says what made them.
        title: Heading of the report.
    """
    facts = {shown: _text(record[key]) for key, shown in _FACTS.items() if record.get(key) not in (None, [], "")}
    sections = [
        score_section(scores),
        Section("Ranking", "", blocks=[draw_cmc(scores)]),
        *camera_sections(scores),
        Section("Where this comes from", "", blocks=[fact_table(facts)]),
    ]
    counts = f"{scores.queries:,} queries counted, {scores.gallery:,} gallery crops"
    lines = [f"{counts} · protocol {scores.protocol} · {scores.distance} distance", *describe_reordering(scores)]
    return Document(title, sections, "\n".join(lines), scores.warnings, list(score_tiles(scores)))


def _text(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
