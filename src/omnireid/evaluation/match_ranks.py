"""The rank of each true match in its query's ranking, found block by block without sorting."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from omnireid.data.matches import TrueMatches
from omnireid.evaluation.ranks_ahead import count_ahead
from omnireid.retrieval.comparison import Comparison, compare_blocks
from omnireid.retrieval.search import THREADS, RankedMatches, select_from_block
from omnireid.types import BoolArray, FloatArray, IntArray

_CAMERA_BYTES = 32 * 2**20  # of one camera's columns that are copied out of a block at a time


@dataclass(frozen=True, eq=False)
class MatchRanks:
    """The ranks of all true matches of N counted queries, and what was found first.

    Attributes:
        query: (M,) the counted query of each true match, ascending.
        crop: (M,) gallery index of the true match, ascending within a query.
        rank: (M,) its rank, from 1, among all crops that the query is scored against.
        camera_rank: (M,) its rank, from 1, among the crops of its own camera; None where not asked for.
        is_tied: (N,) whether a crop of somebody else is exactly as near as the query's first true match.
        ranked: The first crops of each counted query; (N, 0) where not asked for.
    """

    query: IntArray
    crop: IntArray
    rank: IntArray
    camera_rank: IntArray | None
    is_tied: BoolArray
    ranked: RankedMatches


@dataclass(frozen=True, eq=False)
class _CropLists:
    """An ascending list of gallery crops for each counted query: list n is ``crops[offsets[n]:offsets[n + 1]]``."""

    crops: IntArray
    offsets: IntArray

    @classmethod
    def from_pairs(cls, query: IntArray, crop: IntArray, queries: int) -> _CropLists:
        """Make lists from pairs in ascending order of query and then crop."""
        return cls(crop, np.concatenate([[0], np.cumsum(np.bincount(query, minlength=queries))]))

    def table(self, start: int, stop: int, empty: int) -> IntArray:
        """(B, W) lists `start` to `stop` as a table; the ends of shorter rows hold `empty`."""
        lengths = np.diff(self.offsets[start : stop + 1])
        inside = np.arange(max(1, lengths.max())) < lengths[:, None]
        result = np.full(inside.shape, empty, dtype=np.int64)
        result[inside] = self.crops[self.offsets[start] : self.offsets[stop]]
        return result


@dataclass(frozen=True, eq=False)
class _Plan:
    """Everything that is the same for all blocks of queries."""

    gallery: int  # number of crops
    true: _CropLists
    skipped: _CropLists
    hidden: IntArray
    cameras: IntArray | None


def _group_by_camera(cameras: IntArray, columns: IntArray) -> Iterator[tuple[IntArray, IntArray, IntArray, IntArray]]:
    """Find the true matches of each camera.

    Args:
        cameras: (G,) camera ids.
        columns: (B, W) gallery indices of true matches; G where there is none.

    Yields:
        The gallery crops of one camera; then row and place in `columns` of each true match among them, and its
        index among these crops.
    """
    is_real = columns < len(cameras)
    camera_of = np.where(is_real, cameras[np.where(is_real, columns, 0)], 0)
    for camera in np.unique(camera_of[is_real]).tolist():
        crops = np.flatnonzero(cameras == camera)
        row, place = np.nonzero(is_real & (camera_of == camera))
        yield crops, row, place, np.searchsorted(crops, columns[row, place])


def _count_in_cameras(cameras: IntArray, values: FloatArray, columns: IntArray, chosen: FloatArray) -> IntArray:
    """Like `count_ahead`, but each column competes only with the columns of its own camera."""
    ahead = np.zeros(columns.shape, dtype=np.int64)
    for crops, row, place, index in _group_by_camera(cameras, columns):
        step = max(1, _CAMERA_BYTES // (4 * len(crops)))
        for start in range(0, len(columns), step):
            part = slice(*np.searchsorted(row, [start, start + step]))
            camera_values = np.take(values[start : start + step], crops, axis=1)
            lists = _CropLists.from_pairs(row[part] - start, index[part], len(camera_values))
            table = lists.table(0, len(camera_values), empty=len(crops))
            is_real = table < len(crops)
            table_chosen = np.full(table.shape, -np.inf, dtype=np.float32)
            table_chosen[is_real] = chosen[row[part], place[part]]
            counts, _ = count_ahead(camera_values, table, table_chosen)
            ahead[row[part], place[part]] = counts[is_real]
    return ahead


def _rank_block(plan: _Plan, values: FloatArray, start: int, stop: int) -> tuple[IntArray, IntArray | None, BoolArray]:
    """Count what is ahead of the true matches of counted queries `start` to `stop`.

    Skipped and hidden crops get the ranking value +inf in `values`.

    Returns:
        What `MatchRanks` holds as ``rank`` and ``camera_rank``, but from 0, and ``is_tied``.
    """
    columns = plan.true.table(start, stop, empty=plan.gallery)
    is_real = columns < plan.gallery
    real_row, real_column = np.nonzero(is_real)[0], columns[is_real]
    chosen = np.full(columns.shape, -np.inf, dtype=np.float32)
    chosen[is_real] = values[real_row, real_column]
    skipped = plan.skipped.table(start, stop, empty=-1)
    row, place = np.nonzero(skipped >= 0)
    values[row, skipped[row, place]] = np.inf
    if len(plan.hidden):
        values[:, plan.hidden] = np.inf
    ahead, is_tied = count_ahead(values, columns, chosen)
    camera_ahead = None
    if plan.cameras is not None:
        camera_ahead = _count_in_cameras(plan.cameras, values, columns, chosen)[is_real]
    if len(plan.hidden):
        values[real_row, real_column] = chosen[is_real]  # a hidden crop does compete for the query it was drawn for
    return ahead[is_real], camera_ahead, is_tied


def find_match_ranks(
    comparison: Comparison,
    matches: TrueMatches,
    *,
    hidden: IntArray,
    cameras: IntArray | None = None,
    depth: int = 0,
    progress: bool = False,
) -> MatchRanks:
    """Find the rank of every true match, and the first crops of every counted query.

    Args:
        comparison: Q queries with G gallery crops.
        matches: The N counted queries, and the crops of their persons.
        hidden: Gallery crops that compete for no query (junk). They can still be true matches.
        cameras: (G,) camera ids, to rank each true match among the crops of its camera as well.
        depth: How many crops of each query's ranking to keep.
        progress: Draw a bar on standard error.
    """
    total, gallery = len(matches.queries), comparison.shape[1]
    of_query, crop = matches.query_of_crop, matches.crop_indices
    order = np.argsort(of_query * gallery + crop)
    of_query, crop, is_true = of_query[order], crop[order], matches.is_true_match[order]
    true = _CropLists.from_pairs(of_query[is_true], crop[is_true], total)
    skipped = _CropLists.from_pairs(of_query[~is_true], crop[~is_true], total)
    plan = _Plan(gallery, true, skipped, hidden, cameras)
    rank = np.empty(len(true.crops), dtype=np.int64)
    camera_rank = None if cameras is None else np.empty_like(rank)
    is_tied = np.empty(total, dtype=bool)
    depth = min(depth, gallery)
    nearest = np.empty((total, depth), dtype=np.int64)
    distances = np.empty((total, depth), dtype=np.float32)
    with ThreadPoolExecutor(THREADS) as pool:
        for rows, values in compare_blocks(comparison, matches.queries, label="rank", progress=progress):
            ahead, camera_ahead, is_tied[rows] = _rank_block(plan, values, rows.start, rows.stop)
            part = slice(true.offsets[rows.start], true.offsets[rows.stop])
            rank[part] = ahead + 1
            if camera_rank is not None and camera_ahead is not None:
                camera_rank[part] = camera_ahead + 1
            if depth:
                nearest[rows], found = select_from_block(pool, rows, values, depth)
                distances[rows] = comparison.to_distances(matches.queries[rows], found)
    nearest[np.isposinf(distances)] = -1
    return MatchRanks(of_query[is_true], true.crops, rank, camera_rank, is_tied, RankedMatches(nearest, distances))
