"""``omnireid link``: one identity over cameras."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import tyro

from omnireid.commands.gallery_people import explain_undo
from omnireid.commands.options import JsonOption, check_json, leave_json
from omnireid.tracking.camera_linking_options import CameraLinkingOptions

if TYPE_CHECKING:
    from omnireid.tracking.camera_linking import LinkedCameras
    from omnireid.tracking.message_broker import BrokerAddress
    from omnireid.tracking.seen_events import SeenEvent

_STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True)
class LinkKnowledge:
    """What is known before the tracks are looked at.

    Attributes:
        people: People whom an earlier omnireid link found, a .parquet file. They keep their numbers, and new tracks
            join them or found new people. The output may be the same file.
        travel_times: Travel times between cameras, a .json file such as {"times": [{"from": "door", "to": "yard",
            "least_s": 5, "most_s": 40}]}. By default they are learned.
        calibration: What a distance means for these weights, a .json file of omnireid calibrate. By default that is
            learned from the tracks, without labels.
    """

    people: Path | None = None
    travel_times: Path | None = None
    calibration: Path | None = None


@dataclass(frozen=True)
class LinkOutputs:
    """Where people go besides the table.

    Attributes:
        events: Write who was seen where and when, one JSON object a line; - for standard output. With --people, only
            what the new tracks show.
        mqtt: Publish the same lines to an MQTT broker, given as host[:port]/topic, which takes omnireid[mqtt].
        gallery: Add all embedded crops to this gallery, as sightings of its people. omnireid gallery undo takes back
            who is who.
        crops: Folder that omnireid track --crops wrote, for all cameras, so that the gallery's sightings have pictures.
        learned_times: Write the travel times that were used to this .json file, which --travel-times reads.
    """

    events: Path | None = None
    mqtt: str | None = None
    gallery: str | None = None
    crops: Path | None = None
    learned_times: Path | None = None
    json: JsonOption = None


def link(
    tracks: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="TRACKS", help="Tables of tracks, one a camera.")
    ],
    *,
    output: Path,
    knowledge: LinkKnowledge = LinkKnowledge(),
    linking: CameraLinkingOptions = CameraLinkingOptions(),
    outputs: LinkOutputs = LinkOutputs(),
) -> None:
    """Give the people of several cameras one identity each.

    Tracks are compared by their looks and by the time from one camera to another. Nobody is at two places at one time,
    unless --overlap says that two cameras see the same place. docs/tracking.md explains what is learned, and how.

    Example: omnireid link door.parquet yard.parquet --output people.parquet --events - --overlap door:yard

    Args:
        output: The table of all tracks with their people, a .parquet file.
        knowledge: What is known before.
        linking: How people are linked.
        outputs: Where people go besides the table.
    """
    from omnireid.tracking.seen_events import list_events
    from omnireid.tracking.track_table import write_track_table
    from omnireid.tracking.travel_times import write_travel_times

    address = _check(tracks, output, knowledge, outputs)
    linked = _link(tracks, knowledge, linking)
    say = sys.stderr if _STANDARD_OUTPUT in (outputs.events, outputs.json) else sys.stdout
    for note in linked.notes:
        print(f"note: {note}", file=sys.stderr)
    write_track_table(output, linked.table)
    if outputs.learned_times is not None:
        write_travel_times(linked.times, outputs.learned_times)
    events = list_events(linked.table, linked.probabilities, tracks=linked.new_tracks)
    summary = _describe(linked)
    print(
        f"{summary['people']:,} people, {summary['new_people']:,} of them new, "
        f"{summary['people_in_several_cameras']:,} in several cameras: {len(linked.table.tracklets):,} tracks, "
        f"{len(events):,} events\npeople: {output}",
        file=say,
    )
    _leave_events(events, outputs.events)
    if outputs.gallery is not None:
        summary["gallery"] = _add_to_gallery(linked, outputs.gallery, outputs.crops, asdict(linking) | summary, say)
    leave_json(outputs.json, summary | {"events": [event.json() for event in events], **linked.times.json()})
    if address is not None:
        _publish(events, address, say)


def _check(
    tracks: tuple[Path, ...], output: Path, knowledge: LinkKnowledge, outputs: LinkOutputs
) -> BrokerAddress | None:
    """Check, before the work, that all outputs can be written; the broker's address, if one is given."""
    from omnireid.errors import SettingError, require
    from omnireid.files import check_output
    from omnireid.tracking.message_broker import BrokerAddress

    if not tracks:
        raise SettingError("Name at least one table of tracks. Make one with: omnireid track")
    if outputs.events == outputs.json == _STANDARD_OUTPUT:
        raise SettingError("--events and --json both go to standard output. Give a file to one of them.")
    known = [path for path in (knowledge.travel_times, knowledge.calibration) if path is not None]
    check_output(output, suffix=".parquet", inputs=[*tracks, *known])
    inputs = [*tracks, *known, output, *([knowledge.people] if knowledge.people is not None else [])]
    check_json(outputs.json, inputs=inputs)
    if outputs.events is not None and outputs.events != _STANDARD_OUTPUT:
        check_output(outputs.events, inputs=inputs)
    if outputs.learned_times is not None:
        check_output(outputs.learned_times, suffix=".json", inputs=inputs)
    if outputs.crops is not None and (outputs.gallery is None or not outputs.crops.is_dir()):
        reason = "belongs to --gallery" if outputs.gallery is None else "is no folder"
        raise SettingError(f"--crops {outputs.crops} {reason}. Name the folder of omnireid track --crops.")
    if outputs.gallery is not None:
        require("lancedb", "gallery", "A gallery")
    if outputs.mqtt is None:
        return None
    require("paho.mqtt.client", "mqtt", "Sending messages by MQTT")
    return BrokerAddress.parse(outputs.mqtt)


def _link(tracks: tuple[Path, ...], knowledge: LinkKnowledge, options: CameraLinkingOptions) -> LinkedCameras:
    from omnireid.errors import SettingError
    from omnireid.retrieval.calibration import read_calibration
    from omnireid.tracking.camera_linking import link_cameras
    from omnireid.tracking.camera_tables import join_tables, place_after
    from omnireid.tracking.track_table import read_track_table
    from omnireid.tracking.travel_times import read_travel_times

    if len(set(tracks)) < len(tracks):
        twice = next(path for path in tracks if tracks.count(path) > 1)
        raise SettingError(f"{twice} is named twice. Name each table of tracks once.")
    table = join_tables({str(path): read_track_table(path) for path in tracks})
    before = None
    if knowledge.people is not None:
        before = read_track_table(knowledge.people)
        table = place_after(table, before, str(knowledge.people))
    return link_cameras(
        table,
        options,
        before=before,
        times=None if knowledge.travel_times is None else read_travel_times(knowledge.travel_times),
        calibration=None if knowledge.calibration is None else read_calibration(knowledge.calibration),
    )


def _describe(linked: LinkedCameras) -> dict[str, Any]:
    """Counts, and what was learned about looks."""
    cameras: dict[int, set[str]] = {}
    for (camera, _), person in linked.table.people.items():
        cameras.setdefault(person, set()).add(camera)
    return {
        "people": len(cameras),
        "new_people": linked.new_people,
        "people_in_several_cameras": sum(len(seen) > 1 for seen in cameras.values()),
        "tracks": len(linked.table.tracklets),
        "appearance": None if linked.mixture is None else asdict(linked.mixture),
        "notes": list(linked.notes),
    }


def _leave_events(events: tuple[SeenEvent, ...], where: Path | None) -> None:
    from json import dumps

    from omnireid.files import atomic_output

    text = "".join(dumps(event.json(), ensure_ascii=False) + "\n" for event in events)
    if where == _STANDARD_OUTPUT:
        sys.stdout.write(text)
    elif where is not None:
        with atomic_output(where) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _add_to_gallery(
    linked: LinkedCameras, place: str, crops: Path | None, evidence: dict[str, Any], say: TextIO
) -> dict[str, Any]:
    from omnireid.gallery.gallery import Gallery
    from omnireid.tracking.gallery_people import add_to_gallery

    kept = {name: value for name, value in evidence.items() if name != "notes"}
    done = add_to_gallery(linked.table, Gallery.open(place), kept, crops=crops)
    print(f"gallery {place}: {done.added:,} sightings added, {done.found:,} were there already", file=say)
    if done.decision is not None:
        print(explain_undo(done.decision, place), file=say)
    event = None if done.decision is None else done.decision.event
    return {"added": done.added, "found": done.found, "event": event}


def _publish(events: tuple[SeenEvent, ...], address: BrokerAddress, say: TextIO) -> None:
    from json import dumps

    from omnireid.tracking.message_broker import publish_messages

    count = publish_messages(address, (dumps(event.json(), ensure_ascii=False) for event in events))
    print(f"{count:,} events confirmed by {address}, topic {address.topic}", file=say)
