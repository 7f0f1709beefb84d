"""A page about the links of a recording: both ends, the evidence, and what would have happened without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omnireid.images.decode import RgbArray
from omnireid.reports.crop_images import crop_image_of_pixels
from omnireid.reports.page import write_page
from omnireid.reports.parts import CropImage, Section, Strip
from omnireid.tracking.linking import Link, LinkedTracklets

_MOST_SHOWN = 500


def draw_links(
    output: Path, title: str, linked: LinkedTracklets, pictures: Mapping[tuple[int, bool], RgbArray]
) -> None:
    """Write a page with a strip for each link: the person before the gap, after it, and the alternative.

    Args:
        output: The page to write; its name ends in .html.
        title: Heading of the page.
        linked: Tracklets, people and links of the recording.
        pictures: Crops as `cut_link_pictures` gives them.

    Raises:
        OutputError: The page cannot be written.
    """
    shown = linked.links[:_MOST_SHOWN]
    strips = [_strip(link, linked.people[link.later], pictures) for link in shown]
    people = len(set(linked.people.values()))
    text = (
        f"{len(linked.tracklets):,} tracklets show {people:,} people. {len(linked.links):,} links joined two tracklets "
        f"over a gap; without them there would be {people + len(linked.links):,} people. Each strip shows the person "
        "before the gap, after it, and the most probable alternative where anybody else was within reach. Place is "
        "a log likelihood ratio: above 0, where and when the person came back speaks for the link."
    )
    if len(shown) < len(linked.links):
        text += f" The first {len(shown):,} links are shown; the events have all of them."
    write_page(output, title, [Section("What appearance changed", text, blocks=strips)])


def _strip(link: Link, person: int, pictures: Mapping[tuple[int, bool], RgbArray]) -> Strip:
    title = (
        f"Person {person} was lost at {_clock(link.left_at)} and is back at {_clock(link.back_at)}, after "
        f"{link.gap_s:.1f} s: probability {link.probability:.3f}, distance {link.distance:.3f}, place "
        f"{link.place:+.1f}, needed speed {link.speed:.2f} body heights a second. Without this link, tracklet "
        f"{link.later} would be a new person."
    )
    crops = [
        _crop(pictures, (link.earlier, True), f"tracklet {link.earlier}\nuntil {_clock(link.left_at)}"),
        _crop(pictures, (link.later, False), f"tracklet {link.later}\nfrom {_clock(link.back_at)}"),
    ]
    if link.alternative is not None:
        caption = f"alternative: tracklet {link.alternative}\nprobability {link.alternative_probability:.3f}"
        crops.append(_crop(pictures, (link.alternative, True), caption))
    return Strip(title, tuple(crops))


def _crop(pictures: Mapping[tuple[int, bool], RgbArray], key: tuple[int, bool], caption: str) -> CropImage:
    pixels = pictures.get(key)
    return CropImage(None, caption, "plain") if pixels is None else crop_image_of_pixels(pixels, caption, "plain")


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds since the recording's start."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}"
