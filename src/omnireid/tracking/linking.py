"""Which tracklets of one camera show one person, and why.

A person who is hidden, or leaves and comes back, has several tracklets. Two of
them are linked where the later one begins after the earlier one has ended and
could be reached in the time between, and where appearance and place together
speak for one person.

Shapes: N chains of tracklets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnireid.errors import TrackingError, require
from omnireid.retrieval.calibration import Calibration
from omnireid.tracking.appearance import LEAST_CROPS, Appearance, learn_appearance, unit_rows
from omnireid.tracking.reach import learn_fastest, needed_speed
from omnireid.tracking.splitting import split_at_gaps, split_tracklets
from omnireid.tracking.tracking_options import LinkingMethod, LinkingOptions
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.whereabouts import learn_places, whereabouts
from omnireid.types import DoubleArray

BRIDGED_BY_MOTION_S = 0.5
"""Longest gap inside a tracklet that is left to the motion tracker where appearance is known. Most tracklets with two
people in them come from bridging a longer gap by motion, and appearance and place together bridge it better."""

_CUTTING_ROUNDS = 2
"""Tracklets with two people in them blur the scale that is learned from them; the cut ones show further cuts."""


@dataclass(frozen=True)
class Link:
    """Two tracklets taken for one person, and the evidence.

    Attributes:
        camera: Name of the camera.
        earlier: Number of the tracklet that ended.
        later: Number of the tracklet that began.
        left_at: Seconds since the recording's start at the last box of the earlier tracklet.
        back_at: Seconds since the recording's start at the first box of the later tracklet.
        distance: Mean cosine distance between the crops of what had been linked to either before.
        place: How much place and time speak for one person, as a log likelihood ratio.
        probability: Probability by appearance, place and time that both show one person.
        speed: Body heights a second that were needed to get from one end to the other.
        alternative: Number of the next most probable tracklet that could have been the earlier one; None where there is
            no other within reach. Without any link the later tracklet would have been a person of its own.
        alternative_probability: Probability of the alternative; 0 where there is none.
    """

    camera: str
    earlier: int
    later: int
    left_at: float
    back_at: float
    distance: float
    place: float
    probability: float
    speed: float
    alternative: int | None
    alternative_probability: float

    @property
    def gap_s(self) -> float:
        """Seconds between both tracklets."""
        return self.back_at - self.left_at

    def json(self) -> dict[str, Any]:
        """The link as plain values, ready for ``json.dumps``."""
        return {
            "event": "link",
            "camera": self.camera,
            "earlier": self.earlier,
            "later": self.later,
            "left_at": self.left_at,
            "back_at": self.back_at,
            "gap_s": self.gap_s,
            "distance": self.distance,
            "place": self.place,
            "probability": self.probability,
            "speed": self.speed,
            "alternative": self.alternative,
            "alternative_probability": self.alternative_probability,
        }


@dataclass(frozen=True)
class LinkedTracklets:
    """People, as groups of tracklets.

    Attributes:
        tracklets: The tracklets, some of them cut where that was asked for.
        people: Number of each tracklet to the number of its person. People are numbered from 0 in the order in which
            they are first seen.
        links: The links, in the order of time.
    """

    tracklets: tuple[Tracklet, ...]
    people: Mapping[int, int]
    links: tuple[Link, ...]


def link_tracklets(
    tracklets: Sequence[Tracklet], appearance: Appearance | None, options: LinkingOptions = LinkingOptions()
) -> LinkedTracklets:
    """Link the tracklets of one whole recording.

    Links are made in rounds. In each round a chain of tracklets is linked to at most one that follows, and compared by
    all its crops; the rounds end when no pair is probable enough.

    Args:
        tracklets: Tracklets of one camera, in any order.
        appearance: What a distance between crops is worth; None for nothing, so that nothing is linked.
        options: When two tracklets are linked.

    Raises:
        TrackingError: The tracklets are of several cameras, or two have one number.
        MissingDependencyError: ``scipy`` is not installed.
    """
    check_one_camera(tracklets)
    chains = [[tracklet] for tracklet in sorted(tracklets, key=lambda one: (one.start, one.number))]
    evidence = _Evidence(tracklets, appearance, options)
    links: list[Link] = []
    while found := _link_round(chains, evidence, options):
        links += [link for _, _, link in found]
        chains = _join(chains, {earlier: later for earlier, later, _ in found})
    people = {tracklet.number: person for person, chain in enumerate(chains) for tracklet in chain}
    return LinkedTracklets(tuple(tracklets), people, tuple(sorted(links, key=lambda link: (link.back_at, link.later))))


def link_recording(
    tracklets: Sequence[Tracklet], calibration: Calibration | None = None, options: LinkingOptions = LinkingOptions()
) -> LinkedTracklets:
    """Find the people of one whole recording: cut its tracklets where they show two people, then link them.

    Args:
        tracklets: Tracklets of one camera, as a motion tracker found them.
        calibration: What a distance between crops of these weights is worth. Without one it is learned from the
            tracklets themselves, and learned again from what is cut; where they are too few, nothing is linked.
        options: When tracklets are cut and linked.

    Raises: the errors of `link_tracklets`.
    """
    check_one_camera(tracklets)
    appearance: Appearance | None = calibration or learn_appearance(tracklets)
    cut = tuple(tracklets)
    if options.cut and appearance is not None:
        cut = split_at_gaps(cut, BRIDGED_BY_MOTION_S)
    for _ in range(_CUTTING_ROUNDS):
        if not options.cut or appearance is None:
            break
        cut = split_tracklets(cut, appearance, options.cut_probability)
        appearance = calibration or learn_appearance(cut) or appearance
    return link_tracklets(cut, appearance, options)


def check_one_camera(tracklets: Sequence[Tracklet]) -> None:
    """Check that tracklets are of one camera and have numbers of their own.

    Raises:
        TrackingError: They are of several cameras, or two have one number.
    """
    cameras = sorted({tracklet.camera for tracklet in tracklets})
    if len(cameras) > 1:
        raise TrackingError(f"Tracklets of one camera are linked at a time; got the cameras {', '.join(cameras)}.")
    numbers = [tracklet.number for tracklet in tracklets]
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise TrackingError(f"Two tracklets of camera {cameras[0]} have the number {twice}.")


def _join(chains: Sequence[list[Tracklet]], follower: Mapping[int, int]) -> list[list[Tracklet]]:
    """The chains after each was joined to the one that follows it, by indices, in the order of their starts."""
    followers = set(follower.values())
    joined = []
    for index, chain in enumerate(chains):
        if index not in followers:
            whole, at = list(chain), index
            while at in follower:
                at = follower[at]
                whole += chains[at]
            joined.append(whole)
    return joined


class _Evidence:
    """What speaks for one person at either side of a gap. What is known of two ends is kept for later rounds."""

    def __init__(self, tracklets: Sequence[Tracklet], appearance: Appearance | None, options: LinkingOptions) -> None:
        self._appearance = appearance
        self._fastest = options.fastest or learn_fastest(tracklets)
        self._longest_gap_s = options.longest_gap_s
        self._scale = learn_places(tracklets)
        self._rows = {one.number: unit_rows(one.embeddings) for one in tracklets}
        self._lasts = {one.number: whereabouts(one, at_end=True) for one in tracklets}
        self._firsts = {one.number: whereabouts(one, at_end=False) for one in tracklets}
        self._known: dict[tuple[int, int], tuple[float, float] | None] = {}

    def between(self, earlier: Tracklet, later: Tracklet) -> tuple[float, float] | None:
        """Needed speed, and log likelihood ratio of the place; None where the later one cannot be reached."""
        key = (earlier.number, later.number)
        if key not in self._known:
            speed = needed_speed(earlier, later)
            place = self._scale.log_likelihood_ratio(self._lasts[earlier.number], self._firsts[later.number])
            self._known[key] = (speed, place) if speed <= self._fastest else None
        return self._known[key]

    def compare(self, chains: Sequence[Sequence[Tracklet]]) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """(N, N) log likelihood ratios, distances and ratios of the place, from the end of each chain to each start.

        Ratios are -inf where a link is impossible, and distances NaN where one of both has too few crops.
        """
        count = len(chains)
        starts = np.array([chain[0].start for chain in chains])
        ends = np.array([chain[-1].end for chain in chains])
        gaps = starts[None, :] - ends[:, None]
        places = np.full((count, count), -np.inf)
        for earlier, later in np.argwhere((gaps > 0) & (gaps <= self._longest_gap_s)).tolist():
            between = self.between(chains[earlier][-1], chains[later][0])
            if between is not None:
                places[earlier, later] = between[1]
        rows = [np.concatenate([self._rows[tracklet.number] for tracklet in chain]) for chain in chains]
        distances = np.full((count, count), np.nan)
        known = np.array([index for index, row in enumerate(rows) if len(row) >= LEAST_CROPS], dtype=np.int64)
        if len(known):
            means = np.stack([rows[index].mean(axis=0) for index in known])
            distances[np.ix_(known, known)] = 1 - means @ means.T
        return add_appearance(places, distances, self._appearance), distances, places


def add_appearance(places: DoubleArray, distances: DoubleArray, appearance: Appearance | None) -> DoubleArray:
    """Log likelihood ratios by place and appearance together, in any shape.

    Place and time alone link nobody: the motion tracker has gone by them already, and of further links that were made
    without pictures, more were wrong than right.

    Args:
        places: Log likelihood ratios of the places; -inf where a link is impossible.
        distances: Distances between crops; NaN where one of both has too few.
        appearance: What a distance is worth; None where that is not known.
    """
    ratios = np.full(places.shape, -np.inf)
    compared = np.isfinite(distances) & np.isfinite(places)
    if appearance is not None and compared.any():
        ratios[compared] = places[compared] + appearance.log_likelihood_ratios(distances[compared])
    return ratios


def _link_round(
    chains: Sequence[Sequence[Tracklet]], evidence: _Evidence, options: LinkingOptions
) -> list[tuple[int, int, Link]]:
    """Links between chains, each with the indices of the two chains."""
    ratios, distances, places = evidence.compare(chains)
    least = math.log(options.probability / (1 - options.probability))
    if not (ratios >= least).any():
        return []
    found = []
    for earlier, later in choose_links(ratios, least, options.method):
        column = ratios[:, later].copy()
        column[earlier] = -np.inf
        other = int(np.argmax(column))
        has_other = bool(np.isfinite(column[other]))
        last, first = chains[earlier][-1], chains[later][0]
        between = evidence.between(last, first)
        assert between is not None
        link = Link(
            first.camera,
            last.number,
            first.number,
            last.end,
            first.start,
            float(distances[earlier, later]),
            float(places[earlier, later]),
            link_probability(ratios[earlier, later]),
            between[0],
            chains[other][-1].number if has_other else None,
            link_probability(column[other]),
        )
        found.append((earlier, later, link))
    return found


def choose_links(ratios: DoubleArray, least: float, method: LinkingMethod) -> list[tuple[int, int]]:
    """Choose links by either method; see `choose_together` and `choose_greedily`."""
    return choose_together(ratios, least) if method == "assignment" else choose_greedily(ratios, least)


def choose_together(ratios: DoubleArray, least: float) -> list[tuple[int, int]]:
    """Choose links at most one a row and column, so that the sum of their evidence above the least is largest.

    Args:
        ratios: (N, N) log likelihood ratios from each earlier chain to each later one; -inf where impossible.
        least: Least ratio of a link.

    Returns:
        Pairs of earlier and later index.
    """
    require("scipy", extra="track", purpose="Linking tracklets")
    from scipy.optimize import linear_sum_assignment

    gains = np.where(ratios >= least, ratios - least + 1e-9, 0.0)
    pairs = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
    return [(int(earlier), int(later)) for earlier, later in pairs if gains[earlier, later] > 0]


def choose_greedily(ratios: DoubleArray, least: float) -> list[tuple[int, int]]:
    """Choose the most probable link first, then the most probable of those that are left; see `choose_together`."""
    chosen: list[tuple[int, int]] = []
    left = ratios.copy()
    while left.size and left.max() >= least:
        earlier, later = (int(index) for index in np.unravel_index(int(np.argmax(left)), left.shape))
        chosen.append((earlier, later))
        left[earlier, :] = -np.inf
        left[:, later] = -np.inf
    return chosen


def link_probability(ratio: float) -> float:
    """Probability of one person, where both answers are equally likely before anybody looks."""
    return 0.0 if math.isinf(ratio) else 1 / (1 + math.exp(-ratio))
