"""The bodies, forms and filters of requests, with an example each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.options import ErasureOptions

MOST_RESULTS = 10_000
MOST_LISTED = 1_000
MOST_EMBEDDED = 64
_MOST_NAMED = 10_000

Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[tuple[Name, ...], Field(max_length=200)]
LARGEST = 2**63 - 1
"""Largest value of a column of whole numbers."""

Number = Annotated[int, Field(ge=1, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Numbers = Annotated[tuple[Number, ...], Field(min_length=1, max_length=_MOST_NAMED)]
Reason = Annotated[str, Field(max_length=1000, description="Why, in your words; it is kept with the decision.")]
Scalar = str | bool | int | float


class Shape(BaseModel):
    """A value that does not change, and has no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def with_example(**values: Any) -> ConfigDict:
    """The settings of a shape, with an example."""
    return ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [values]})


class Filter(Shape):
    """Which sightings count. Every field given must fit."""

    cameras: Names = Field((), description="Only sightings by these cameras.")
    not_cameras: Names = Field((), description="No sightings by these cameras.")
    persons: Names = Field((), description="Only sightings of these people.")
    since: str | None = Field(None, max_length=64, description="Only at this time or later, in ISO 8601 with a zone.")
    until: str | None = Field(None, max_length=64, description="Only before this time.")
    where: str | None = Field(None, max_length=4096, description="Only where this holds, such as bag = 'red'.")

    @property
    def chosen(self) -> SightingFilter:
        """The filter as the gallery takes it."""
        return SightingFilter(
            cameras=self.cameras,
            not_cameras=self.not_cameras,
            persons=self.persons,
            since=self.since,
            until=self.until,
            where=self.where,
        )


class SearchForm(Filter):
    """Whom to search for: a crop, a person or a sighting, one of them; and which sightings count."""

    crop: UploadFile | None = Field(None, description="A crop of one person: JPEG, PNG or WebP.")
    person: Name | None = Field(None, description="Search by all sightings of this person instead.")
    sighting: Number | None = Field(None, description="Search by this sighting instead.")
    camera: Name | None = Field(None, description="The camera of the crop, for a better probability.")
    time: str | None = Field(None, max_length=64, description="When it was taken, for the same; ISO 8601 with a zone.")
    count: int = Field(20, ge=1, le=MOST_RESULTS, description="Number of sightings to find.")
    prior: float | None = Field(
        None, gt=0, lt=1, description="With a calibration: the probability of a match before anybody looked."
    )


class EmbedForm(Shape):
    """Crops to embed."""

    crops: list[UploadFile] = Field(min_length=1, max_length=MOST_EMBEDDED, description="JPEG, PNG or WebP.")


class SightingForm(Shape):
    """A crop to add, with what is known of it."""

    crop: UploadFile = Field(description="A crop of one person: JPEG, PNG or WebP.")
    camera: Name | None = Field(None, description="The camera that saw it.")
    time: str | None = Field(None, max_length=64, description="When, in ISO 8601 with a zone.")
    person: Name | None = Field(None, description="Who it is, where that is known.")
    track: Name | None = Field(None, description="The track it belongs to.")
    box_xyxy: str | None = Field(None, max_length=100, description="Left, top, right and bottom in its frame.")
    columns: str = Field("{}", max_length=8192, description="Columns of your own, as a JSON object of plain values.")
    keep_all: bool = Field(False, description="Add it even if it is of low quality.")


class SightingList(Filter):
    """Which sightings are listed, a page at a time, by their numbers."""

    order: Literal["oldest", "newest"] = Field("oldest", description="The sighting added first comes first, or last.")
    after: Count | None = Field(None, description="Begin after this number: next of the page before.")
    limit: int = Field(100, ge=1, le=MOST_LISTED, description="Sightings on the page.")


class Page(Shape):
    """Which part of a list."""

    offset: Count = Field(0, description="Entries to leave out at the beginning.")
    limit: int = Field(100, ge=1, le=MOST_LISTED, description="Entries on the page.")


class PersonQuery(Shape):
    """What is shown of a person."""

    limit: int = Field(100, ge=1, le=MOST_LISTED, description="Sightings, those added first.")
    similar: int = Field(0, ge=0, le=50, description="People who look most like this one; finding them is a search.")


class ReviewQuery(Shape):
    """How many questions."""

    count: int = Field(20, ge=1, le=200, description="Questions, the most useful ones first.")


class Assign(Shape):
    """Give sightings to a person, who may be new; null says that they are of nobody known."""

    model_config = with_example(kind="assign", sightings=[12, 15], person="anna", reason="seen at the desk")
    kind: Literal["assign"]
    sightings: Numbers
    person: Name | None
    reason: Reason = ""


class Merge(Shape):
    """Say that people are one person, who keeps the name `into`."""

    model_config = with_example(kind="merge", into="anna", people=["17"], reason="the same red coat")
    kind: Literal["merge"]
    into: Name
    people: Annotated[tuple[Name, ...], Field(min_length=1, max_length=200)]
    reason: Reason = ""


class Split(Shape):
    """Make some of a person's sightings a person of their own."""

    model_config = with_example(kind="split", sightings=[15, 16], name="bert", reason="")
    kind: Literal["split"]
    sightings: Numbers
    name: Name | None = None
    reason: Reason = ""


class Rename(Shape):
    """Give a person another name."""

    model_config = with_example(kind="rename", person="17", name="anna", reason="")
    kind: Literal["rename"]
    person: Name
    name: Name
    reason: Reason = ""


class Differ(Shape):
    """Say that sightings show different people."""

    model_config = with_example(kind="differ", sightings=[12, 15], reason="")
    kind: Literal["differ"]
    sightings: Numbers
    reason: Reason = ""


class Undo(Shape):
    """Take back a decision; without a number the last one that counts."""

    model_config = with_example(kind="undo", event=3, reason="the wrong Anna")
    kind: Literal["undo"]
    event: Number | None = None
    reason: Reason = ""


DecisionBody = Annotated[Assign | Merge | Split | Rename | Differ | Undo, Field(discriminator="kind")]


class Answer(Shape):
    """An answer to a question: whether two sightings show one person."""

    model_config = with_example(one=12, other=40, same=True, reason="")
    one: Number
    other: Number
    same: bool
    reason: Reason = ""


class Erasure(Shape):
    """Which sightings to erase. Every field given must fit, and one must be given."""

    model_config = with_example(persons=["anna"], cameras=[], block=True, preview=False)
    persons: Names = ()
    cameras: Names = ()
    sightings: Annotated[tuple[Number, ...], Field(max_length=500)] = ()
    before: str | None = Field(None, max_length=64)
    where: str | None = Field(None, max_length=4096)
    block: bool = Field(False, description="Refuse the same crops from now on.")
    preview: bool = Field(False, description="Only count; nothing is erased.")

    @property
    def options(self) -> ErasureOptions:
        """What is erased, as the gallery takes it."""
        numbers = f"sighting in ({', '.join(map(str, self.sightings))})" if self.sightings else None
        where = [f"({part})" for part in (numbers, self.where) if part]
        return ErasureOptions(
            person=self.persons,
            camera=self.cameras,
            before=self.before,
            where=" and ".join(where) or None,
            block=self.block,
        )
