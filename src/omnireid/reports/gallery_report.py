"""A report of a gallery: who and what is in it, how good it is, what was decided, and what was erased."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.gallery.audit import AuditEntry
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.identities import Decision
from omnireid.gallery.info import GalleryInfo, Person
from omnireid.gallery.near_pairs import NearPair
from omnireid.gallery.sightings import Sighting, Sightings
from omnireid.images.quality import LEAST_SHARPNESS
from omnireid.reports.charts import Axis, Series, axis_over, draw_lines, stairs
from omnireid.reports.crop_images import make_crop_image
from omnireid.reports.parts import Chart, CropImage, Document, Section, Strip, Table, Tile
from omnireid.reports.score_sections import fact_table

_PEOPLE = 20
_PAIRS = 12
_EVENTS = 50
_BINS = 40
_UNITS = ((2 * 86_400, 86_400, "days"), (2 * 3600, 3600, "hours"), (0, 60, "minutes"))
"""Shortest span in seconds, length in seconds and name of a unit of time."""


@dataclass(frozen=True, eq=False)
class ReportedGallery:
    """What a report of a gallery is made from.

    Attributes:
        info: Model, size, cameras and times.
        sightings: All sightings, without embeddings.
        people: The people, those seen most often first.
        pairs: Sightings of nobody named, with the nearest other one, nearest first.
        decisions: Who was declared to be whom, oldest first.
        actions: The log of searches, changes and erasures, oldest first.
        facts: Where and when the report was written, by name.
        hides_crops: Whether crops are replaced by empty frames.
    """

    info: GalleryInfo
    sightings: Sightings
    people: Sequence[Person]
    pairs: Sequence[NearPair]
    decisions: Sequence[Decision]
    actions: Sequence[AuditEntry]
    facts: Mapping[str, str]
    hides_crops: bool = False

    def json(self) -> dict[str, Any]:
        """The report as plain values, without single sightings but those of the pairs."""
        return {
            "kind": "omnireid report",
            "gallery": self.info.json(),
            "people": [person.json() for person in self.people],
            "near_pairs": [pair.json() for pair in self.pairs],
            "decisions": [decision.json() for decision in self.decisions],
            "erasures": [entry.json() for entry in _erasures(self.actions)],
            "actions": dict(Counter(entry.action for entry in self.actions)),
            "facts": dict(self.facts),
        }


def read_gallery(gallery: Gallery, facts: Mapping[str, str], *, hides_crops: bool = False) -> ReportedGallery:
    """Read what a report needs from a gallery. Nothing is written to it, not even to its log."""
    return ReportedGallery(
        info=gallery.info(),
        sightings=gallery.sightings(),
        people=gallery.people(),
        pairs=gallery.near_pairs(_PAIRS),
        decisions=gallery.decisions(),
        actions=gallery.audit(),
        facts=facts,
        hides_crops=hides_crops,
    )


def report_gallery(reported: ReportedGallery) -> Document:
    """Lay out a report. Crops are read from their files; one that cannot be read is an empty frame."""
    info = reported.info
    sections = [
        *_time_sections(reported.sightings),
        _camera_section(reported),
        _people_section(reported.people),
        *_quality_sections(reported.sightings),
        _pair_section(reported),
        _decision_section(reported.decisions),
        _erasure_section(reported.actions),
        Section("Where this comes from", "", blocks=[fact_table(_describe(info) | dict(reported.facts))]),
    ]
    cameras = [name for name in info.cameras if name != "not known"]
    tiles = [
        Tile("sightings", f"{info.sightings:,}", "" if info.bytes is None else f"{info.bytes / 1e6:,.1f} MB"),
        Tile("people", f"{info.people:,}"),
        Tile("of nobody named", f"{info.unassigned:,}", _share(info.unassigned, info.sightings)),
        Tile("cameras", f"{len(cameras):,}" if cameras else "not known"),
    ]
    between = "" if info.first is None or info.last is None else f"{_minute(info.first)} to {_minute(info.last)}"
    subtitle = " · ".join(
        filter(None, [str(info.model["architecture"]), f"{info.model['distance']} distance", between])
    )
    return Document(f"Gallery {Path(info.uri).name}", sections, subtitle, tiles=tiles)


def _describe(info: GalleryInfo) -> dict[str, str]:
    return {
        "gallery": info.uri,
        "made": info.created,
        "architecture": str(info.model["architecture"]),
        "SHA-256 of the weights": str(info.model["weights_sha256"]),
        "licence of the weights": str(info.model["licence"]),
        "preprocessing": ", ".join(f"{name} {value}" for name, value in info.model["preprocessing"].items()),
        "embeddings": f"{info.model['width']} values in {info.float_type}",
        "columns of its own": ", ".join(info.columns) or "none",
        "calibration": "yes" if info.calibrated else "none: a distance is no probability",
        "search": "every sighting is compared"
        if info.index_recall is None
        else f"through an index that finds {100 * info.index_recall:.1f} % of the true nearest ten",
    }


def _time_sections(sightings: Sightings) -> Iterator[Section]:
    times = [time.timestamp() for time in sightings.table.column("time").drop_null().to_pylist()]
    if not times:
        return
    first, span = min(times), max(times) - min(times)
    _, length, unit = next(one for one in _UNITS if span >= one[0])
    began = sightings.table.column("time").drop_null().to_numpy().min()
    label = f"{unit} since {np.datetime_as_string(began, unit='m').replace('T', ' ')} UTC"
    chart = _histogram("Sightings over time", "sightings", (np.array(times) - first) / length, label)
    missing = len(sightings) - len(times)
    text = "How many sightings there are at each time. A gap is a time in which a camera was off, or nobody came."
    if missing:
        text += f" {missing:,} sightings have no time."
    yield Section("When", text, blocks=[chart])


def _histogram(title: str, name: str, values: Any, label: str, ends: tuple[float, float] | None = None) -> Chart:
    low, high = ends or (float(values.min()), float(values.max()))
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts = np.histogram(values, edges)[0].tolist()
    series = Series(name, stairs(edges.tolist(), counts), is_filled=True)
    axis = Axis(label, float(edges[0]), float(edges[-1]))
    return draw_lines(title, [series], axis, axis_over("sightings", counts, least=0))


def _camera_section(reported: ReportedGallery) -> Section:
    import pyarrow.compute as pc

    grouped = reported.sightings.table.group_by("camera").aggregate(
        [("sighting", "count"), ("person", "count_distinct"), ("time", "min"), ("time", "max")]
    )
    rows = [
        (
            "not known" if row["camera"] is None else row["camera"],
            f"{row['sighting_count']:,}",
            f"{row['person_count_distinct']:,}",
            _minute(row["time_min"]),
            _minute(row["time_max"]),
        )
        for row in grouped.take(pc.sort_indices(grouped, [("camera", "ascending")])).to_pylist()
    ]
    table = Table(("camera", "sightings", "people", "first", "last"), tuple(rows))
    return Section("Cameras", "Times are in UTC. Only people with a name are counted.", blocks=[table])


def _people_section(people: Sequence[Person]) -> Section:
    if not people:
        return Section("People", "Nobody has a name yet. omnireid gallery assign and cluster give names.")
    rows = [
        (one.name, f"{one.sightings:,}", ", ".join(one.cameras) or "–", _minute(one.first), _minute(one.last))
        for one in people[:_PEOPLE]
    ]
    text = "Those seen most often." if len(people) <= _PEOPLE else f"The {_PEOPLE} of {len(people):,} seen most often."
    return Section("People", text, blocks=[Table(("person", "sightings", "cameras", "first", "last"), tuple(rows))])


def _quality_sections(sightings: Sightings) -> Iterator[Section]:
    values = sightings.table.column("quality").drop_null().to_numpy()
    if not len(values):
        return
    low = int((values < LEAST_SHARPNESS).sum())
    text = (
        f"Sharpness of each crop, from 0 (blurred) to 1. Crops below {LEAST_SHARPNESS} are left out unless --keep-all "
        f"adds them: {low:,} of {len(values):,} here. Blurred crops are what fills a gallery with false matches."
    )
    chart = _histogram("Quality of the crops", "sightings", values, "sharpness", (0.0, 1.0))
    yield Section("Quality", text, blocks=[chart])


def _pair_section(reported: ReportedGallery) -> Section:
    title = "Nearest to sightings of nobody named"
    if not reported.pairs:
        return Section(title, "Every sighting has a person, or there is only one.")
    text = (
        "Each pair is a sighting of nobody named and the sighting nearest to it; nearest first. "
        + ("The probability is that both show one person." if reported.info.calibrated else "")
        + " Nothing is decided by this report: see omnireid gallery assign and review."
    )
    strips = []
    for pair in reported.pairs:
        likely = "" if pair.probability is None else f"{100 * pair.probability:.1f} % one person ({pair.verdict}), "
        who = pair.other.person or "nobody named"
        heading = f"{pair.unnamed.number} and {pair.other.number} ({who}): {likely}distance {pair.distance:.3f}"
        crops = [_crop(sighting, hides_crops=reported.hides_crops) for sighting in (pair.unnamed, pair.other)]
        strips.append(Strip(heading, tuple(crops)))
    return Section(title, text, blocks=strips)


def _crop(sighting: Sighting, *, hides_crops: bool) -> CropImage:
    lines = [f"no. {sighting.number}", "" if sighting.camera is None else f"camera {sighting.camera}"]
    path = None if hides_crops else Path(sighting.path)
    return make_crop_image(path, "\n".join(filter(None, lines)), "plain")


def _decision_section(decisions: Sequence[Decision]) -> Section:
    if not decisions:
        return Section("Decisions", "Nobody has decided anything about people yet.")
    rows = [
        (
            str(one.event),
            _minute(one.time),
            one.who,
            one.kind + (" (undone)" if one.undone else ""),
            ", ".join(f"{name} {_brief(value)}" for name, value in one.details.items()),
            one.reason,
        )
        for one in reversed(decisions[-_EVENTS:])
    ]
    text = "Who said who is whom, latest first. Each can be undone: omnireid gallery undo --event NUMBER."
    if len(decisions) > _EVENTS:
        text += f" The last {_EVENTS} of {len(decisions):,}."
    columns = ("event", "time (UTC)", "who", "kind", "what", "reason")
    return Section("Decisions", text, blocks=[Table(columns, tuple(rows))])


def _brief(value: object) -> str:
    if isinstance(value, list) and len(value) > 6:
        return f"{', '.join(map(str, value[:6]))} and {len(value) - 6} more"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _erasures(actions: Sequence[AuditEntry]) -> list[AuditEntry]:
    return [entry for entry in actions if entry.action == "remove"]


def _erasure_section(actions: Sequence[AuditEntry]) -> Section:
    counts = Counter(entry.action for entry in actions)
    logged = ", ".join(f"{action} {count:,}" for action, count in sorted(counts.items())) or "nothing"
    erasures = _erasures(actions)
    text = f"The log of this gallery holds: {logged}."
    if not erasures:
        return Section("Erasures", f"{text} Nothing was erased.")
    rows = [
        (
            _minute(one.time),
            one.who,
            f"{one.details.get('sightings', 0):,}",
            "yes" if one.details.get("blocked") else "no",
            f"{str(one.details.get('signature', ''))[:16]}…",
        )
        for one in reversed(erasures[-_EVENTS:])
    ]
    columns = ("time (UTC)", "who", "sightings", "blocked", "signature of the receipt")
    text += " Erasures, latest first; a receipt belongs to this gallery if it has the signature."
    return Section("Erasures", text, blocks=[Table(columns, tuple(rows))])


def _minute(time: datetime | None) -> str:
    return "–" if time is None else time.strftime("%Y-%m-%d %H:%M")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
