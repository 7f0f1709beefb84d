"""How sightings are added. No heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from omnireid.errors import FilterError
from omnireid.gallery.filters import SightingFilter

FloatType = Literal["float16", "float32"]
SearchMethod = Literal["best", "mean", "vote"]
METHODS: tuple[SearchMethod, ...] = get_args(SearchMethod)


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
