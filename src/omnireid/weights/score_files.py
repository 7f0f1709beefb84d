"""Scores that ``omnireid evaluate --json`` wrote, on their way into the artefact of the weights they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omnireid.errors import ExportError

SCORES = ("rank1", "mean_average_precision")
"""The scores that an artefact keeps of each data set."""


def read_score_files(paths: Sequence[Path], weights_sha256: str) -> dict[str, float]:
    """Read what was measured, as the metrics of an artefact.

    Args:
        paths: Results of evaluations on one data set each, or on several.
        weights_sha256: SHA-256 of the file of weights that must have been evaluated.

    Returns:
        Fractions by data set and score, such as ``{"viper.rank1": 0.456}``.

    Raises:
        ExportError: A file is no such result, belongs to other weights, or two are of one data set.
    """
    found: dict[str, float] = {}
    for path in paths:
        try:
            record = json.loads(path.read_bytes())
            made_by = record["weights_sha256"]
            results = [_scores_of(result) for result in record.get("datasets", [record])]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(
                f"{path} holds no scores ({type(error).__name__}: {error}). Name a file that "
                "omnireid evaluate --data DATA --json FILE wrote; a data set that could not be scored has none."
            ) from error
        if made_by != weights_sha256:
            raise ExportError(
                f"The scores in {path} belong to other weights (SHA-256 {str(made_by)[:12]}…, not "
                f"{weights_sha256[:12]}…). Evaluate the file that you convert."
            )
        for scores in results:
            if scores.keys() & found.keys():
                dataset = next(iter(scores)).rpartition(".")[0]
                raise ExportError(f"{path} is a second result on {dataset}. Name one for each data set.")
            if not all(0 <= score <= 1 for score in scores.values()):
                raise ExportError(f"The scores in {path} are no fractions: {scores}. Evaluate the weights again.")
            found |= scores
    return found


def _scores_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The scores on one data set, by their names in an artefact."""
    return {f"{result['dataset']}.{name}": float(result[name]) for name in SCORES}
