"""An evaluator that is slow, plain and written apart from the package: the whole distance matrix, sorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omnireid.types import Labels


@dataclass
class Reference:
    cmc: list[float]
    mean_average_precision: float
    mean_inverse_negative_penalty: float
    queries: int
    left_out: int
    gallery: int


def label(persons: npt.ArrayLike, cameras: npt.ArrayLike | None = None) -> Labels:
    """Labels from lists."""
    return Labels(np.asarray(persons), None if cameras is None else np.asarray(cameras))


def distance_matrix(query: npt.NDArray[Any], gallery: npt.NDArray[Any], distance: str) -> npt.NDArray[np.float64]:
    """Squared Euclidean or cosine distances in float64."""
    query, gallery = query.astype(np.float64), gallery.astype(np.float64)
    matrix = np.zeros((len(query), len(gallery)))
    for row, one in enumerate(query):
        for column, other in enumerate(gallery):
            if distance == "euclidean":
                matrix[row, column] = np.sum((one - other) ** 2)
            else:
                length = np.linalg.norm(one) * np.linalg.norm(other)
                matrix[row, column] = 1 - (one @ other / length if length else 0)
    return matrix


def rank_by_sorting(
    matrix: npt.NDArray[np.float64],
    query_persons: list[int],
    query_cameras: list[int] | None,
    gallery_persons: list[int],
    gallery_cameras: list[int] | None,
    max_rank: int,
) -> Reference | None:
    """Scores from the sorted matrix; None where no query has a true match."""
    curves, precisions, penalties, left_out = [], [], [], 0
    for row, person in enumerate(query_persons):
        order = np.lexsort((np.arange(len(gallery_persons)), matrix[row]))
        right = []
        for column in order:
            if gallery_persons[column] == -1:
                continue
            same = gallery_persons[column] == person and person != -1
            own_camera = query_cameras is not None and query_cameras[row] == gallery_cameras[column]  # type: ignore[index]
            if same and own_camera:
                continue
            right.append(same)
        ranks = [place for place, hit in enumerate(right, start=1) if hit]
        if not ranks:
            left_out += 1
            continue
        curves.append([float(ranks[0] <= place) for place in range(1, max_rank + 1)])
        precisions.append(sum(found / rank for found, rank in enumerate(ranks, start=1)) / len(ranks))
        penalties.append(len(ranks) / ranks[-1])
    if not curves:
        return None
    return Reference(
        cmc=[sum(column) / len(curves) for column in zip(*curves, strict=True)],
        mean_average_precision=sum(precisions) / len(precisions),
        mean_inverse_negative_penalty=sum(penalties) / len(penalties),
        queries=len(curves),
        left_out=left_out,
        gallery=sum(person != -1 for person in gallery_persons),
    )
