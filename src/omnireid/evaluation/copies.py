"""Queries whose own picture is in the gallery: finding it is not re-identification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omnireid.data.identical import find_shared_crops
from omnireid.retrieval.search import RankedMatches
from omnireid.types import AnyArray, BoolArray, IntArray

_DEPTH = 10  # first crops of a ranking that are looked at: a copy is as near as a crop can be
_RELATIVE_DISTANCE = 0.05  # of the query's length, at most, between embeddings of one picture, in any precision


def find_queries_with_copy(
    query: AnyArray,
    gallery: AnyArray,
    query_paths: Sequence[Path],
    gallery_paths: Sequence[Path],
    ranked: RankedMatches,
) -> IntArray:
    """Find the queries whose own picture is among their first ranked crops.

    Two crops show the same picture if they have the same path, if their files hold
    the same bytes (links and copies), or if their embeddings are equal. Only files of
    crops with very similar embeddings are read.

    Args:
        query: (Q, D) embeddings.
        gallery: (G, D) embeddings.
        query_paths: Q files, which need not exist any more.
        gallery_paths: G files.
        ranked: What was found for each query, without the crops that the protocol skips.

    Returns:
        (Q,) gallery index of a copy of each query; -1 where there is none.
    """
    row, place = np.nonzero(ranked.indices[:, :_DEPTH] >= 0)
    crop = ranked.indices[row, place]
    is_alike, is_equal = _compare_pairs(query, gallery, row, crop)
    row, crop, is_equal = row[is_alike], crop[is_alike], is_equal[is_alike]
    pairs = list(zip(row.tolist(), crop.tolist(), strict=True))
    is_same_path = [query_paths[one] == gallery_paths[other] for one, other in pairs]
    is_copy = is_equal | np.array(is_same_path, dtype=np.bool_)
    queries, crops = np.unique(row[~is_copy]).tolist(), np.unique(crop[~is_copy]).tolist()
    shared = find_shared_crops([query_paths[one] for one in queries], [gallery_paths[other] for other in crops])
    same_bytes = {(queries[one], crops[other]) for one, other in shared}
    is_copy |= np.array([pair in same_bytes for pair in pairs], dtype=np.bool_)
    copies = np.full(len(query), -1, dtype=np.int64)
    copies[row[is_copy]] = crop[is_copy]
    return copies


def _compare_pairs(query: AnyArray, gallery: AnyArray, row: IntArray, crop: IntArray) -> tuple[BoolArray, BoolArray]:
    """Whether the embeddings of each pair are alike, and whether they are equal."""
    is_alike, is_equal = np.zeros(len(row), dtype=bool), np.zeros(len(row), dtype=bool)
    step = max(1, 2**22 // query.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        one = query[row[part]].astype(np.float32)
        difference = np.abs(one - gallery[crop[part]].astype(np.float32))
        is_equal[part] = ~difference.any(axis=1)
        is_alike[part] = np.linalg.norm(difference, axis=1) <= _RELATIVE_DISTANCE * np.linalg.norm(one, axis=1)
    return is_alike, is_equal


def describe_copies(copies: IntArray, counted: int, query_paths: Sequence[Path], gallery_paths: Sequence[Path]) -> str:
    """Say how many of the counted queries have a copy in the gallery; empty where none has.

    Args:
        copies: (Q,) gallery index of a copy of each query, or -1.
        counted: Number of counted queries.
        query_paths: Q files.
        gallery_paths: G files.
    """
    found = np.flatnonzero(copies >= 0)
    if not len(found):
        return ""
    first = int(found[0])
    example = f"{query_paths[first]} = {gallery_paths[int(copies[first])]}"
    if len(found) == counted:
        return (
            f"THE QUERIES ARE IN THE GALLERY. All {counted:,} counted queries find their own picture there "
            f"(the first: {example}). These scores do not measure re-identification. Give a gallery of other pictures."
        )
    return (
        f"{len(found):,} of {counted:,} queries find their own picture in the gallery (the first: {example}), which "
        "makes the scores too good. omnireid doctor lists such crops; keep one of each."
    )
