"""Re-ranking and query expansion as papers state them: dense, slow, float64, and written apart from the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RealArray = npt.NDArray[np.float64]


def normalised_distances(rows: npt.NDArray[Any], distance: str) -> RealArray:
    """(N, N) squared Euclidean or cosine distances, each row divided by its largest."""
    table = rows.astype(np.float64)
    if distance == "euclidean":
        matrix = np.stack([((table - row) ** 2).sum(axis=1) for row in table])
    else:
        lengths = np.linalg.norm(table, axis=1, keepdims=True)
        unit = np.divide(table, lengths, out=np.zeros_like(table), where=lengths > 0)
        matrix = 1 - unit @ unit.T
    largest = matrix.max(axis=1, keepdims=True)
    result: RealArray = np.divide(matrix, largest, out=np.zeros_like(matrix), where=largest > 1e-12)
    return result


def rank_rows(matrix: RealArray) -> npt.NDArray[np.int64]:
    """(N, N) every row's neighbours, nearest first: itself, then by distance, then the lower index."""
    to_sort = matrix.copy()
    np.fill_diagonal(to_sort, -1)
    return np.argsort(to_sort, axis=1, kind="stable")


def reciprocal_set(ranks: npt.NDArray[np.int64], row: int, count: int) -> set[int]:
    """The `count` neighbours of a row, itself beside them, that have the row among theirs."""
    return {other for other in ranks[row, : count + 1].tolist() if row in ranks[other, : count + 1].tolist()}


def encode(matrix: RealArray, ranks: npt.NDArray[np.int64], k1: int) -> RealArray:
    """(N, N) weights of the expanded k-reciprocal neighbours of each row."""
    weights = np.zeros_like(matrix)
    half_sets = [reciprocal_set(ranks, row, int(np.around(k1 / 2))) for row in range(len(matrix))]
    for row in range(len(matrix)):
        members = reciprocal_set(ranks, row, k1)
        expanded = set(members)
        for member in members:
            if 3 * len(half_sets[member] & members) > 2 * len(half_sets[member]):
                expanded |= half_sets[member]
        columns = sorted(expanded)
        weights[row, columns] = np.exp(-matrix[row, columns])
        weights[row] /= weights[row].sum()
    return weights


def rerank_densely(
    query: npt.NDArray[Any],
    gallery: npt.NDArray[Any],
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    distance: str = "euclidean",
) -> RealArray:
    """(Q, G) re-ranked distances by Zhong et al., CVPR 2017, from the whole matrix."""
    matrix = normalised_distances(np.concatenate([query, gallery]), distance)
    ranks = rank_rows(matrix)
    weights = encode(matrix, ranks, k1)
    if k2 > 1:
        weights = np.stack([weights[ranks[row, :k2]].mean(axis=0) for row in range(len(matrix))])
    count = len(query)
    result = np.empty((count, len(gallery)))
    for row in range(count):
        common = np.minimum(weights[row], weights[count:]).sum(axis=1)
        result[row] = (1 - lambda_value) * (1 - common / (2 - common)) + lambda_value * matrix[row, count:]
    return result


def expand_densely(
    query: npt.NDArray[Any], gallery: npt.NDArray[Any], count: int, alpha: float, distance: str
) -> RealArray:
    """(Q, D) each query averaged with its nearest gallery rows, weighted by cosine similarity to the power alpha."""
    queries, crops = query.astype(np.float64), gallery.astype(np.float64)

    def unit(row: RealArray) -> RealArray:
        length = np.linalg.norm(row)
        return row / length if length else row

    result = []
    for one in queries:
        if distance == "euclidean":
            distances = ((crops - one) ** 2).sum(axis=1)
        else:
            distances = np.array([1 - unit(one) @ unit(crop) for crop in crops])
        chosen = np.argsort(distances, kind="stable")[:count]
        weights = [max(float(unit(one) @ unit(crops[index])), 0.0) ** alpha for index in chosen]
        members = [one, *crops[chosen]]
        if distance == "cosine":
            members = [unit(member) for member in members]
        result.append(np.average(members, axis=0, weights=[1.0, *weights]))
    return np.array(result)
