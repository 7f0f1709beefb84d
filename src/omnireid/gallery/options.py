"""How sightings are added, searched, put together and erased. No heavy imports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from omnireid.errors import FilterError, SettingError
from omnireid.gallery.filters import SightingFilter

FloatType = Literal["float16", "float32"]
SearchMethod = Literal["best", "mean", "vote"]
METHODS: tuple[SearchMethod, ...] = get_args(SearchMethod)
ClusterMethod = Literal["components", "hdbscan"]


@dataclass(frozen=True, kw_only=True)
class AddOptions:
    """How crops are added to a gallery.

    Attributes:
        float_type: How a new gallery stores embeddings. float16 halves the space; float32 keeps every bit.
        timezone: Zone of times that state none, such as Europe/Berlin. Without it such times are refused.
        keep_all: Add crops of low quality too: too small, not upright, blurred, cut off by the frame, or with two
            people. They are left out and listed otherwise.
    """

    float_type: FloatType = "float16"
    timezone: str | None = None
    keep_all: bool = False


@dataclass(frozen=True, kw_only=True)
class ErasureOptions:
    """Which sightings are erased. Every one given must fit, and at least one must be given.

    Attributes:
        person: Sightings of these people.
        camera: Sightings by these cameras.
        before: Sightings before this time, in ISO 8601 with a zone. Those without a time stay.
        path: Sightings of these files.
        where: Sightings that fit this condition on the columns.
        block: Keep a salted hash of each erased crop, and refuse the same crop from now on.
    """

    person: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    before: str | None = None
    path: tuple[str, ...] = ()
    where: str | None = None
    block: bool = False

    @property
    def filter(self) -> SightingFilter:
        """The sightings that are erased.

        Raises:
            FilterError: none is chosen, or a time is none.
        """
        chosen = SightingFilter(
            persons=self.person, cameras=self.camera, until=self.before, paths=self.path, where=self.where
        )
        if not chosen.json():
            raise FilterError(
                "Nothing says which sightings to erase. Give a person, a camera, a time before which, a path or a "
                "condition (--person, --camera, --before, --path, --where)."
            )
        return chosen


@dataclass(frozen=True, kw_only=True)
class PersonQuery:
    """A person to search for instead of crops.

    Attributes:
        person: Search for this person of the gallery, by all sightings of theirs, which are left out themselves.
        method: How their sightings count together: best (the nearest of them), mean, or vote.
    """

    person: str | None = None
    method: SearchMethod = "best"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How people are proposed from sightings.

    Attributes:
        method: components joins sightings that are among each other's nearest, up to the threshold; hdbscan takes the
            dense parts of the same graph.
        threshold: Largest Jaccard distance of the k-reciprocal encodings at which components joins, from 0 to 1.
        dense_sightings: Fewest sightings of a dense part, for hdbscan.
        k1: Neighbourhood size of the graph, as in re-ranking.
        k2: Number of nearest sightings whose encodings are averaged; 1 averages nothing.
        least_sightings: Fewest sightings that make a new person; fewer are left with nobody.
        same_time_s: Sightings by two cameras at most this many seconds apart are at one time in two places, so they
            are two people.
        cameras_overlap: Cameras may see the same place, so one person can be seen by two of them at once.
        duplicate_boxes: One person may have two boxes in a frame, so sightings of a frame without known boxes are not
            two people for certain.
        unconstrained: Ignore frames and times.

    Raises:
        SettingError: a value is out of range; the message names it.
    """

    method: ClusterMethod = "components"
    threshold: float = 0.4
    dense_sightings: int = 5
    k1: int = 20
    k2: int = 6
    least_sightings: int = 2
    same_time_s: float = 0.0
    cameras_overlap: bool = False
    duplicate_boxes: bool = False
    unconstrained: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(ClusterMethod):
            raise SettingError(f"method: there is no {self.method!r}. Known: {', '.join(get_args(ClusterMethod))}.")
        if not 0 <= self.threshold <= 1:
            raise SettingError(f"threshold must be a Jaccard distance from 0 to 1; got {self.threshold!r}.")
        for name, least in (("k1", 1), ("k2", 1), ("least_sightings", 1), ("dense_sightings", 2)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise SettingError(f"{name} must be a whole number, at least {least}; got {value!r}.")
        if not (self.same_time_s >= 0 and math.isfinite(self.same_time_s)):
            raise SettingError(f"same_time_s must be a number of seconds, at least 0; got {self.same_time_s!r}.")

    @property
    def window_s(self) -> float | None:
        """Seconds within which two cameras cannot see one person; None where they can."""
        return None if self.cameras_overlap else self.same_time_s
