"""What a gallery holds, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from omnireid.gallery.database import Database
from omnireid.gallery.natural_order import natural_order
from omnireid.gallery.schema import OWN_COLUMNS, GalleryFacts
from omnireid.gallery.sightings import Sightings
from omnireid.gallery.stored_files import stored_bytes


@dataclass(frozen=True)
class Person:
    """One person of a gallery.

    Attributes:
        name: The name, by label or decision.
        sightings: Number of sightings.
        cameras: The cameras that saw the person, sorted.
        first: Time of the first sighting; None where no time is known.
        last: Time of the last sighting.
    """

    name: str
    sightings: int
    cameras: tuple[str, ...] = ()
    first: datetime | None = None
    last: datetime | None = None

    def json(self) -> dict[str, Any]:
        """The person as plain values."""
        times = {name: None if t is None else t.isoformat() for name, t in (("first", self.first), ("last", self.last))}
        return {"person": self.name, "sightings": self.sightings, "cameras": list(self.cameras), **times}


@dataclass(frozen=True)
class GalleryInfo:
    """What a gallery is.

    Attributes:
        uri: Where it is.
        model: Fields of its model.
        float_type: What embeddings are stored in.
        created: When it was made.
        sightings: Number of sightings.
        unassigned: Number of sightings of nobody named.
        people: Number of people.
        cameras: Number of sightings by camera.
        first: Time of the first sighting; None where no time is known.
        last: Time of the last sighting.
        columns: The user's own columns.
        calibrated: Whether it holds a calibration.
        index_recall: Share of the true nearest ten that the index finds; None where every sighting is compared.
        bytes: Size of its files; None where they cannot be listed, as on object storage other than S3.
    """

    uri: str
    model: Mapping[str, Any]
    float_type: str
    created: str
    sightings: int
    unassigned: int
    people: int
    cameras: Mapping[str, int]
    first: datetime | None
    last: datetime | None
    columns: tuple[str, ...]
    calibrated: bool
    index_recall: float | None
    bytes: int | None

    def json(self) -> dict[str, Any]:
        """The fields as plain values."""
        record = asdict(self)
        for name in ("first", "last"):
            record[name] = None if record[name] is None else record[name].isoformat()
        return record | {"columns": list(self.columns)}

    def table(self) -> str:
        """The fields as text."""
        cameras = ", ".join(f"{name} ({count:,})" for name, count in self.cameras.items()) or "not known"
        lines = {
            "gallery": self.uri,
            "model": f"{self.model['architecture']}, weights {self.model['weights_sha256'][:12]}…, "
            f"{self.model['distance']} distance, licence: {self.model['licence']}",
            "embeddings": f"{self.model['width']} values in {self.float_type}",
            "sightings": f"{self.sightings:,}, of which {self.unassigned:,} of nobody named",
            "people": f"{self.people:,}",
            "cameras": cameras,
            "times": "not known" if self.first is None or self.last is None else f"{self.first} to {self.last}",
            "columns": ", ".join(self.columns) or "none of your own",
            "calibration": "yes" if self.calibrated else "none: distances are no probabilities",
            "search": "every sighting is compared"
            if self.index_recall is None
            else f"through an index that finds {100 * self.index_recall:.1f} % of the true nearest ten",
            "size": "not known" if self.bytes is None else f"{self.bytes / 1e6:,.1f} MB",
            "created": self.created,
        }
        width = max(map(len, lines))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


def list_people(sightings: Sightings) -> tuple[Person, ...]:
    """The people, those seen most often first; by name among equals, 2 before 10."""
    import pyarrow.compute as pc

    table = sightings.table.filter(pc.is_valid(sightings.table.column("person")))
    grouped = table.group_by("person").aggregate(
        [("sighting", "count"), ("camera", "distinct"), ("time", "min"), ("time", "max")]
    )
    people = [
        Person(
            name=row["person"],
            sightings=row["sighting_count"],
            cameras=tuple(
                sorted((camera for camera in row["camera_distinct"] if camera is not None), key=natural_order)
            ),
            first=row["time_min"],
            last=row["time_max"],
        )
        for row in grouped.to_pylist()
    ]
    return tuple(sorted(people, key=lambda person: (-person.sightings, natural_order(person.name))))


def describe_gallery(database: Database, facts: GalleryFacts, sightings: Sightings) -> GalleryInfo:
    """Count everything."""
    import pyarrow.compute as pc

    table = sightings.table
    cameras = {str(entry["values"]): int(entry["counts"]) for entry in pc.value_counts(table["camera"]).to_pylist()}
    times = pc.min_max(table["time"]).as_py()
    return GalleryInfo(
        uri=database.uri,
        model=asdict(facts.model),
        float_type=facts.float_type,
        created=facts.created,
        sightings=len(sightings),
        unassigned=table["person"].null_count,
        people=len(pc.unique(table["person"].drop_null())),
        cameras={
            ("not known" if name == "None" else name): cameras[name] for name in sorted(cameras, key=natural_order)
        },
        first=times["min"],
        last=times["max"],
        columns=tuple(name for name in table.column_names if name not in OWN_COLUMNS),
        index_recall=None if facts.index is None else facts.index.recall,
        calibrated=facts.calibration is not None,
        bytes=stored_bytes(database),
    )
