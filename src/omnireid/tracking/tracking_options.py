"""How people are tracked. No heavy imports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from omnireid.errors import SettingError
from omnireid.retrieval.decision import is_number

LinkingMethod = Literal["assignment", "greedy"]
"""All links at once, so that their sum of evidence is largest; or the most probable link first."""

LINKING_METHODS: tuple[LinkingMethod, ...] = get_args(LinkingMethod)

STANDARD_OUTPUT = Path("-")

MotionTracker = Literal["botsort", "bytetrack", "ocsort"]
"""BoT-SORT without its camera motion compensation, ByteTrack, or OC-SORT."""

MOTION_TRACKERS: tuple[MotionTracker, ...] = get_args(MotionTracker)


@dataclass(frozen=True)
class MotionOptions:
    """How boxes are followed.

    Attributes:
        tracker: Motion tracker of the package trackers: botsort, bytetrack or ocsort.
        lost_s: Seconds for which a person without a box is still expected to come back where the motion leads. Whoever
            comes back later, or elsewhere, begins a new tracklet.

    Raises:
        SettingError: There is no such tracker, or the time is negative or not finite.
    """

    tracker: MotionTracker = "botsort"
    lost_s: float = 1.0

    def __post_init__(self) -> None:
        if self.tracker not in MOTION_TRACKERS:
            raise SettingError(f"There is no motion tracker {self.tracker!r}. Known: {', '.join(MOTION_TRACKERS)}.")
        if not (math.isfinite(self.lost_s) and self.lost_s >= 0):
            raise SettingError(f"lost_s must be a number of seconds, at least 0; got {self.lost_s!r}.")


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """Which crops of a tracklet are embedded.

    Time is cut into windows of equal length. In each, the best good crop of every tracklet is embedded. A good crop
    lies inside the frame, is upright, sharp and large enough, and at most 40 % of it is covered by another box.

    Attributes:
        crops_per_s: Windows a second, and so the most crops of a tracklet that are embedded in a second.
        most_crops: Most embedded crops that a tracklet keeps. When it has more, every second one is dropped, and from
            then on only every second window counts, so that the crops stay spread over its whole time.

    Raises:
        SettingError: A value is out of range.
    """

    crops_per_s: float = 5.0
    most_crops: int = 100

    def __post_init__(self) -> None:
        if not (is_number(self.crops_per_s) and 0 < self.crops_per_s <= 1000):
            raise SettingError(f"crops_per_s must be a number above 0 and at most 1000; got {self.crops_per_s!r}.")
        if isinstance(self.most_crops, bool) or not isinstance(self.most_crops, int) or self.most_crops < 8:
            raise SettingError(f"most_crops must be a whole number, at least 8; got {self.most_crops!r}.")

    def stride(self, windows: int) -> int:
        """How many windows one crop stands for, in a tracklet that was seen in this many windows before."""
        return 1 if windows < self.most_crops else 2 ** (int(math.log2(windows / self.most_crops)) + 1)


@dataclass(frozen=True, kw_only=True)
class OnlineOptions:
    """When a new tracklet is given its person while the recording goes on, and how long people are remembered.

    Attributes:
        decide_crops: Embedded crops after which a new tracklet is given its person.
        decide_s: Seconds after which a new tracklet is given its person, however few good crops there are. With fewer
            than two it becomes a new person.
        most_people: Most people who are remembered. Beyond that, whoever was seen longest ago is forgotten.
        forget_s: Seconds after which a person who was not seen again is forgotten.

    Raises:
        SettingError: A value is out of range.
    """

    decide_crops: int = 5
    decide_s: float = 2.0
    most_people: int = 1000
    forget_s: float = 3600.0

    def __post_init__(self) -> None:
        for name, least in (("decide_crops", 2), ("most_people", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(f"{name} must be a whole number, at least {least}; got {value!r}.")
        for name in ("decide_s", "forget_s"):
            value = getattr(self, name)
            if not (is_number(value) and value > 0):
                raise SettingError(f"{name} must be a positive number of seconds; got {value!r}.")


@dataclass(frozen=True)
class LinkingOptions:
    """When two tracklets are linked.

    Attributes:
        probability: Least probability, by appearance, place and time, that both tracklets show one person.
        cut_probability: Least probability, by appearance, with which a tracklet is cut because it shows two people.
        longest_gap_s: Longest time between two tracklets of one person, in seconds. By default there is no limit.
        fastest: Greatest speed of a person in body heights a second. By default it is learned from the tracklets.
        method: assignment for all links at once, or greedy for the most probable one first.
        cut: Cut tracklets in which the motion tracker went over to another person, before anything is linked.

    Raises:
        SettingError: A value is out of range.
    """

    probability: float = 0.8
    cut_probability: float = 0.95
    longest_gap_s: float = math.inf
    fastest: float | None = None
    method: LinkingMethod = "assignment"
    cut: bool = True

    def __post_init__(self) -> None:
        for name in ("probability", "cut_probability"):
            value = getattr(self, name)
            if not (is_number(value) and 0.5 <= value < 1):
                raise SettingError(f"{name} must be at least 0.5 and below 1; got {value!r}.")
        if not self.longest_gap_s > 0:
            raise SettingError(f"longest_gap_s must be a positive number of seconds; got {self.longest_gap_s!r}.")
        if self.fastest is not None and not (is_number(self.fastest) and self.fastest > 0):
            raise SettingError(f"fastest must be a positive speed in body heights a second; got {self.fastest!r}.")
        if self.method not in LINKING_METHODS:
            raise SettingError(f"There is no method {self.method!r}. Known: {', '.join(LINKING_METHODS)}.")


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """How people are tracked in one recording.

    Attributes:
        motion: How boxes are followed from frame to frame.
        crops: Which crops are embedded.
        linking: When two tracklets are linked.
        while_recording: When a tracklet is given its person while the recording goes on.
    """

    motion: MotionOptions = MotionOptions()
    crops: CropOptions = CropOptions()
    linking: LinkingOptions = LinkingOptions()
    while_recording: OnlineOptions = OnlineOptions()


@dataclass(frozen=True, kw_only=True)
class TrackResults:
    """What tracking leaves.

    Attributes:
        output: Table of tracks to write, a Parquet file.
        video: Also write the video with the people's boxes in it, as .mp4.
        mot: Also write the boxes as MOTChallenge text, with people as identities.
        events: Also write an event for every person who is new or came back, one JSON object a line, with the evidence.
            A stream writes them as they occur. With - they go to standard output.
        explain_links: Also write a page (.html) with pictures of both ends of every link, its evidence, and what would
            have happened without it. A live stream cannot be read again for it.
        crops: Also write the crops that were embedded to this folder, as JPEG files, which omnireid link --crops takes
            for its gallery. Not for live streams.
        fill_s: In --mot and --video, boxes are interpolated where a person was out of sight for at most this many
            seconds, if the camera stands still. A stream does not do this, and the table of tracks has detected boxes
            only.

    Raises:
        SettingError: Two of them are one file, or `fill_s` is negative.
    """

    output: Path
    video: Path | None = None
    mot: Path | None = None
    events: Path | None = None
    explain_links: Path | None = None
    crops: Path | None = None
    fill_s: float = 2.0

    def __post_init__(self) -> None:
        if not (is_number(self.fill_s) and self.fill_s >= 0):
            raise SettingError(f"fill_s must be a number of seconds, at least 0; got {self.fill_s!r}.")
        files = self.files()
        twice = next((path for path in files if files.count(path) > 1), None)
        if twice is not None:
            raise SettingError(f"Two results cannot both be written to {twice}.")

    def files(self) -> list[Path]:
        """The files that are written."""
        several = (self.output, self.video, self.mot, self.events, self.explain_links)
        return [path for path in several if path is not None and path != STANDARD_OUTPUT]
