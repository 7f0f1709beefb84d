"""Who is to be found: for each query the gallery crops of its own person, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnireid.errors import NoTrueMatchError
from omnireid.types import JUNK_PERSON_ID, IntArray, Labels

BoolArray = npt.NDArray[np.bool_]

_SHOWN_IDS = 6


@dataclass(frozen=True, eq=False)
class TrueMatches:
    """The counted queries and the gallery crops of their persons.

    Counted query n (0 ≤ n < N) is query ``queries[n]``; they are in order of
    person, then camera. The crops of its person are
    ``crops[starts[n]:ends[n]]``, ascending within a camera, and
    ``counts[offsets[n]:offsets[n + 1]]`` says which of them are true matches; the
    others are skipped.

    Attributes:
        queries: (N,) index of each counted query.
        crops: (G,) gallery indices in order of person, then camera.
        starts: (N,) first of the person's crops.
        ends: (N,) one past the last.
        offsets: (N + 1,) where each query's part of `counts` begins.
        counts: whether a crop of the person is a true match.
        left_out: why the other queries are not counted, and how many.
    """

    queries: IntArray
    crops: IntArray
    starts: IntArray
    ends: IntArray
    offsets: IntArray
    counts: BoolArray
    left_out: dict[str, int]

    @property
    def query_of_crop(self) -> IntArray:
        """(sum of crops,) which counted query each entry of `counts` belongs to."""
        return np.repeat(np.arange(len(self.queries)), np.diff(self.offsets))

    @property
    def crop_indices(self) -> IntArray:
        """(sum of crops,) the gallery index of each entry of `counts`."""
        lengths = self.ends - self.starts
        places = np.arange(self.offsets[-1]) + np.repeat(self.starts - self.offsets[:-1], lengths)
        return np.take(self.crops, places)


def _ids_shown(ids: IntArray) -> str:
    """The distinct ids, shortened: ``750 (1, 2, 3 … 1501)``."""
    distinct = np.unique(ids)
    shown = [str(value) for value in distinct[:_SHOWN_IDS]]
    end = f" … {distinct[-1]}" if len(distinct) > _SHOWN_IDS else ""
    return f"{len(distinct):,} ({', '.join(shown)}{end})"


def _likely_cause(query: Labels, gallery: Labels, shared: bool) -> str:
    """What most often makes a data set end up without a true match, given these labels."""
    if not shared:
        return (
            "No query person is in the gallery: the two sides were probably numbered separately, or belong to "
            "different data sets. Number the persons over query and gallery together."
        )
    cameras = np.unique(np.concatenate([_cameras(query), _cameras(gallery)]))
    if len(cameras) == 1:
        return (
            f"Every crop carries camera {cameras[0]}, so each right answer is skipped as seen by the query's own "
            'camera. If the cameras are not known, use protocol="no-cameras" (--protocol no-cameras).'
        )
    return (
        "Each query's person is seen in the gallery only by the query's own camera, and those crops are skipped. "
        'Check the camera ids; if they are not cameras, use protocol="no-cameras" (--protocol no-cameras).'
    )


def _cameras(labels: Labels) -> IntArray:
    return np.empty(0, dtype=np.int64) if labels.camera_ids is None else labels.camera_ids


def _no_match_error(query: Labels, gallery: Labels, shared: bool) -> NoTrueMatchError:
    cameras = (
        ""
        if query.camera_ids is None
        else f" Cameras: {_ids_shown(query.camera_ids)} in the query, {_ids_shown(_cameras(gallery))} in the gallery."
    )
    return NoTrueMatchError(
        f"None of the {len(query):,} queries has a true match among the {len(gallery):,} gallery crops, so there is "
        f"nothing to score. Persons: {_ids_shown(query.person_ids)} in the query, {_ids_shown(gallery.person_ids)} "
        f"in the gallery.{cameras} {_likely_cause(query, gallery, shared)}"
    )


def find_matches(query: Labels, gallery: Labels, *, use_cameras: bool) -> TrueMatches:
    """Work out each query's true matches: its person, seen by another camera.

    Args:
        query: Q person and camera ids. A junk query (-1) is left out.
        gallery: G person and camera ids. Junk (-1) matches nothing.
        use_cameras: whether crops of the query's own camera are skipped; False reads no camera id.

    Raises:
        NoTrueMatchError: no query is left.
    """
    query_cameras = _cameras(query) if use_cameras else np.zeros(len(query), dtype=np.int64)
    gallery_cameras = _cameras(gallery) if use_cameras else np.zeros(len(gallery), dtype=np.int64)
    crops = np.lexsort((gallery_cameras, gallery.person_ids))
    queries = np.lexsort((query_cameras, query.person_ids))
    is_junk = query.person_ids[queries] == JUNK_PERSON_ID
    queries = queries[~is_junk]
    persons = gallery.person_ids[crops]
    starts = np.searchsorted(persons, query.person_ids[queries], side="left")
    ends = np.searchsorted(persons, query.person_ids[queries], side="right")
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = TrueMatches(queries, crops, starts, ends, offsets, np.empty(0, dtype=bool), {})
    counts = np.ones(offsets[-1], dtype=bool)
    if use_cameras:
        np.not_equal(gallery_cameras[found.crop_indices], np.repeat(query_cameras[queries], lengths), out=counts)
    matches = np.bincount(found.query_of_crop[counts], minlength=len(queries))
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
        counts=counts[np.repeat(kept, lengths)],
        left_out={reason: number for reason, number in left_out.items() if number},
    )
