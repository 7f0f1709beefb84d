"""Which gallery crops a query should find, and which are skipped: the only place where this rule stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnireid.errors import NoTrueMatchError
from omnireid.types import JUNK_PERSON_ID, BoolArray, IntArray, Labels

_SHOWN_IDS = 6


@dataclass(frozen=True, eq=False)
class TrueMatches:
    """The counted queries, and the gallery crops of their persons.

    A query is counted if it has a true match. Counted queries are in order of
    person, then camera. The crops of the person of counted query n are
    ``crops[starts[n]:ends[n]]``, ascending within a camera. Of these,
    ``is_true_match[offsets[n]:offsets[n + 1]]`` marks the true matches; the others
    are skipped.

    Attributes:
        queries: (N,) index of each counted query.
        crops: (G,) gallery indices in order of person, then camera.
        starts: (N,) position in `crops` of the person's first crop.
        ends: (N,) position after the person's last crop.
        offsets: (N + 1,) start of each query's part of `is_true_match`.
        is_true_match: Whether a crop of the person is a true match; False means it is skipped.
        left_out: Reasons why other queries are not counted, and the number of queries for each.
    """

    queries: IntArray
    crops: IntArray
    starts: IntArray
    ends: IntArray
    offsets: IntArray
    is_true_match: BoolArray
    left_out: dict[str, int]

    @property
    def query_of_crop(self) -> IntArray:
        """The counted query, from 0 to N - 1, that each entry of `is_true_match` belongs to."""
        return np.repeat(np.arange(len(self.queries)), np.diff(self.offsets))

    @property
    def crop_indices(self) -> IntArray:
        """The gallery index of each entry of `is_true_match`."""
        return _join_lists(self.crops, self.starts, self.ends, self.offsets)


def _join_lists(crops: IntArray, starts: IntArray, ends: IntArray, offsets: IntArray) -> IntArray:
    """Join ``crops[starts[n]:ends[n]]`` over all n; list n begins at ``offsets[n]``."""
    positions = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)
    return np.take(crops, positions)


def _list_ids(ids: IntArray) -> str:
    """The number of distinct ids and the first few of them, such as ``750 (1, 2, 3 … 1501)``."""
    distinct = np.unique(ids)
    shown = [str(value) for value in distinct[:_SHOWN_IDS]]
    end = f" … {distinct[-1]}" if len(distinct) > _SHOWN_IDS else ""
    return f"{len(distinct):,} ({', '.join(shown)}{end})"


def _explain_likely_cause(query: Labels, gallery: Labels, shared: bool) -> str:
    """The most likely reason why a data set with these labels has no true match."""
    if not shared:
        return (
            "No query person is in the gallery: the two sides were probably numbered separately, or belong to "
            "different data sets. Number the persons over query and gallery together."
        )
    cameras = np.unique(np.concatenate([_camera_ids(query), _camera_ids(gallery)]))
    if len(cameras) == 1:
        return (
            f"Every crop carries camera {cameras[0]}, so every right answer is skipped: the query's own camera saw it. "
            'If the cameras are not known, use protocol="no-cameras" (--protocol no-cameras).'
        )
    return (
        "Each query's person is seen in the gallery only by the query's own camera, and those crops are skipped. "
        'Check the camera ids; if they are not cameras, use protocol="no-cameras" (--protocol no-cameras).'
    )


def _camera_ids(labels: Labels) -> IntArray:
    return np.empty(0, dtype=np.int64) if labels.camera_ids is None else labels.camera_ids


def _no_match_error(query: Labels, gallery: Labels, shared: bool) -> NoTrueMatchError:
    cameras = (
        ""
        if query.camera_ids is None
        else f" Cameras: {_list_ids(query.camera_ids)} in the query, {_list_ids(_camera_ids(gallery))} in the gallery."
    )
    return NoTrueMatchError(
        f"None of the {len(query):,} queries has a true match among the {len(gallery):,} gallery crops, so there is "
        f"nothing to score. Persons: {_list_ids(query.person_ids)} in the query, {_list_ids(gallery.person_ids)} "
        f"in the gallery.{cameras} {_explain_likely_cause(query, gallery, shared)}"
    )


def find_matches(query: Labels, gallery: Labels, *, use_cameras: bool) -> TrueMatches:
    """Find each query's true matches: the crops of its person that another camera has seen.

    A crop of the query's own person from the query's own camera is skipped: finding
    it again would not be re-identification.

    Args:
        query: Q person and camera ids. A junk query (-1) is left out.
        gallery: G person and camera ids. Junk (-1) matches nothing.
        use_cameras: Whether crops from the query's own camera are skipped. With False no camera id is read, and
            every crop of the person is a true match.

    Raises:
        NoTrueMatchError: no query has a true match; the message names the ids and cameras seen.
    """
    query_cameras = _camera_ids(query) if use_cameras else np.zeros(len(query), dtype=np.int64)
    gallery_cameras = _camera_ids(gallery) if use_cameras else np.zeros(len(gallery), dtype=np.int64)
    crops = np.lexsort((gallery_cameras, gallery.person_ids))
    queries = np.lexsort((query_cameras, query.person_ids))
    is_junk = query.person_ids[queries] == JUNK_PERSON_ID
    queries = queries[~is_junk]
    persons = gallery.person_ids[crops]
    starts = np.searchsorted(persons, query.person_ids[queries], side="left")
    ends = np.searchsorted(persons, query.person_ids[queries], side="right")
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    is_true_match = np.ones(offsets[-1], dtype=bool)
    if use_cameras:
        cameras = gallery_cameras[_join_lists(crops, starts, ends, offsets)]
        np.not_equal(cameras, np.repeat(query_cameras[queries], lengths), out=is_true_match)
    query_of_crop = np.repeat(np.arange(len(queries)), lengths)
    matches = np.bincount(query_of_crop[is_true_match], minlength=len(queries))
    left_out = {
        "person not in the gallery": int(np.sum(lengths == 0)),
        "person seen in the gallery only by the query's own camera": int(np.sum((lengths > 0) & (matches == 0))),
        "junk query (person id -1)": int(is_junk.sum()),
    }
    if not matches.any():
        raise _no_match_error(query, gallery, shared=bool((lengths > 0).any()))
    kept = matches > 0
    return TrueMatches(
        queries=queries[kept],
        crops=crops,
        starts=starts[kept],
        ends=ends[kept],
        offsets=np.concatenate([[0], np.cumsum(lengths[kept])]),
        is_true_match=is_true_match[np.repeat(kept, lengths)],
        left_out={reason: number for reason, number in left_out.items() if number},
    )
