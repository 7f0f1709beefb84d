"""The places of the true matches in each query's ranking, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omnireid.data.matches import TrueMatches
from omnireid.evaluation.ranks_ahead import count_ahead
from omnireid.retrieval.comparison import Comparison, compare_blocks
from omnireid.types import FloatArray, IntArray

_CAMERA_BYTES = 32 * 2**20  # of one camera's columns copied out of a block at a time


@dataclass(frozen=True, eq=False)
class Positions:
    """Places of all true matches.

    Attributes:
        query: (M,) which counted query, ascending.
        crop: (M,) gallery index of the true match, ascending within a query.
        rank: (M,) its place among all crops that the query is scored against, from 1.
        camera_rank: (M,) its place among those of its own camera, from 1; None where not asked for.
    """

    query: IntArray
    crop: IntArray
    rank: IntArray
    camera_rank: IntArray | None


@dataclass(frozen=True, eq=False)
class _CropLists:
    """For each counted query a list of gallery crops, ascending: list n is ``crops[offsets[n]:offsets[n + 1]]``."""

    crops: IntArray
    offsets: IntArray

    @classmethod
    def from_pairs(cls, query: IntArray, crop: IntArray, queries: int) -> _CropLists:
        """Lists from pairs in ascending order of query and then crop."""
        return cls(crop, np.concatenate([[0], np.cumsum(np.bincount(query, minlength=queries))]))

    def table(self, start: int, stop: int, empty: int) -> IntArray:
        """(B, W) lists `start` to `stop`, filled up with `empty`."""
        lengths = np.diff(self.offsets[start : stop + 1])
        inside = np.arange(max(1, lengths.max())) < lengths[:, None]
        result = np.full(inside.shape, empty, dtype=np.int64)
        result[inside] = self.crops[self.offsets[start] : self.offsets[stop]]
        return result


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is the same for every block of queries."""

    gallery: int  # crops
    true: _CropLists
    skipped: _CropLists
    hidden: IntArray
    cameras: IntArray | None


def _camera_columns(cameras: IntArray, columns: IntArray) -> Iterator[tuple[IntArray, IntArray, IntArray, IntArray]]:
    """For each camera: its gallery crops, and where `columns` has them: rows, places, and positions among its crops."""
    real = columns < len(cameras)
    camera_of = np.where(real, cameras[np.where(real, columns, 0)], 0)
    for camera in np.unique(camera_of[real]).tolist():
        crops = np.flatnonzero(cameras == camera)
        row, place = np.nonzero(real & (camera_of == camera))
        yield crops, row, place, np.searchsorted(crops, columns[row, place])


def _count_in_cameras(cameras: IntArray, values: FloatArray, columns: IntArray, chosen: FloatArray) -> IntArray:
    """Like `count_ahead`, but among the columns of the same camera as the chosen one."""
    ahead = np.zeros(columns.shape, dtype=np.int64)
    for crops, row, place, position in _camera_columns(cameras, columns):
        step = max(1, _CAMERA_BYTES // (4 * len(crops)))
        for start in range(0, len(columns), step):
            part = slice(*np.searchsorted(row, [start, start + step]))
            some = np.take(values[start : start + step], crops, axis=1)
            lists = _CropLists.from_pairs(row[part] - start, position[part], len(some))
            table = lists.table(0, len(some), empty=len(crops))
            real = table < len(crops)
            table_chosen = np.full(table.shape, -np.inf, dtype=np.float32)
            table_chosen[real] = chosen[row[part], place[part]]
            counts = count_ahead(some, table, table_chosen)
            ahead[row[part], place[part]] = counts[real]
    return ahead


def _rank_block(plan: _Plan, values: FloatArray, start: int, stop: int) -> tuple[IntArray, IntArray | None]:
    """Places, from 0, of the true matches of counted queries `start` to `stop`; `values` are changed."""
    columns = plan.true.table(start, stop, empty=plan.gallery)
    real = columns < plan.gallery
    chosen = np.full(columns.shape, -np.inf, dtype=np.float32)
    chosen[real] = values[np.nonzero(real)[0], columns[real]]
    skipped = plan.skipped.table(start, stop, empty=-1)
    row, place = np.nonzero(skipped >= 0)
    values[row, skipped[row, place]] = np.inf
    if len(plan.hidden):
        values[:, plan.hidden] = np.inf
    ahead = count_ahead(values, columns, chosen)
    if plan.cameras is None:
        return ahead[real], None
    return ahead[real], _count_in_cameras(plan.cameras, values, columns, chosen)[real]


def find_positions(
    comparison: Comparison,
    matches: TrueMatches,
    *,
    hidden: IntArray,
    cameras: IntArray | None = None,
    progress: bool = False,
) -> Positions:
    """Find the place of every true match.

    Args:
        comparison: Q queries with G gallery crops.
        matches: the counted queries and the crops of their persons.
        hidden: gallery crops that compete with nothing (junk). They can still be true matches.
        cameras: (G,) camera ids, to rank each true match among the crops of its camera as well.
        progress: draw a bar on standard error.
    """
    total, gallery = len(matches.queries), comparison.shape[1]
    of_query, crop = matches.query_of_crop, matches.crop_indices
    order = np.argsort(of_query * gallery + crop)
    of_query, crop, counts = of_query[order], crop[order], matches.counts[order]
    true = _CropLists.from_pairs(of_query[counts], crop[counts], total)
    skipped = _CropLists.from_pairs(of_query[~counts], crop[~counts], total)
    plan = _Plan(gallery, true, skipped, hidden, cameras)
    rank = np.empty(len(true.crops), dtype=np.int64)
    camera_rank = None if cameras is None else np.empty_like(rank)
    for rows, values in compare_blocks(comparison, matches.queries, label="rank", progress=progress):
        ahead, camera_ahead = _rank_block(plan, values, rows.start, rows.stop)
        part = slice(true.offsets[rows.start], true.offsets[rows.stop])
        rank[part] = ahead + 1
        if camera_rank is not None and camera_ahead is not None:
            camera_rank[part] = camera_ahead + 1
    return Positions(of_query[counts], true.crops, rank, camera_rank)
