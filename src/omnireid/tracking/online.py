"""Linking while a recording goes on: a new tracklet is given its person within a stated delay, and for good.

The rule is that of `linking`: a tracklet belongs to somebody who was seen before
where it begins after that person was last seen and could be reached in the time
between, and where appearance and place together speak for it. What cannot be known yet is not waited for, tracklets
are not cut, and people who were not seen for long are forgotten, so delay and
memory are bounded.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnireid.retrieval.calibration import Calibration
from omnireid.tracking.appearance import LEAST_CROPS, Appearance, learn_appearance, unit_rows
from omnireid.tracking.assembly import TrackletAssembly
from omnireid.tracking.linking import Link, add_appearance, choose_links, link_probability
from omnireid.tracking.reach import FASTEST_BOUND, learn_fastest, needed_speed
from omnireid.tracking.tracking_options import LinkingOptions, OnlineOptions
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.whereabouts import Whereabouts, last_second, learn_places, whereabouts
from omnireid.tracking.windows import Window
from omnireid.types import DoubleArray

LEARNED_FROM = 100
"""Newest ended tracklets from which is learned what a distance is worth, and how fast people move."""

_LEARN_AFTER = 5


@dataclass(frozen=True)
class Decision:
    """A tracklet's person.

    Attributes:
        tracklet: Number of the tracklet.
        person: Number of the person.
        start: Seconds since the recording's start at the tracklet's first box.
        decided: Seconds since the recording's start when this was decided.
        link: The evidence where the person was seen before; None for a new person.
    """

    tracklet: int
    person: int
    start: float
    decided: float
    link: Link | None


@dataclass(eq=False)
class _Person:
    """Somebody who was seen: the last second of it, and the sum of the crops' unit embeddings."""

    number: int
    last: Tracklet
    place: Whereabouts
    rows: DoubleArray
    crops: int

    def seen(self, last: Tracklet) -> None:
        """Keep where the person was seen last."""
        self.last, self.place = last, whereabouts(last, at_end=True)


class OnlineLinker:
    """Gives tracklets their people while they grow.

    Args:
        online: When it is decided, and how many people are remembered.
        linking: When two tracklets are linked. `cut` has no effect.
        calibration: What a distance between crops of these weights is worth. Without one it is learned from the newest
            tracklets that have ended, and until there are enough of them, nobody is recognised.
    """

    def __init__(self, online: OnlineOptions, linking: LinkingOptions, calibration: Calibration | None = None) -> None:
        self._online = online
        self._linking = linking
        self._calibration = calibration
        self._appearance: Appearance | None = calibration
        self._fastest = linking.fastest or FASTEST_BOUND
        self._places = learn_places([])
        self._people: dict[int, _Person] = {}
        self._person_of: dict[int, int] = {}
        self._undecided: dict[int, float] = {}
        self._ended: deque[Tracklet] = deque(maxlen=LEARNED_FROM)
        self._ended_since = 0
        self._next_person = 0

    def person_of(self, tracklet: int) -> int | None:
        """Number of a growing tracklet's person; None while it is not decided."""
        return self._person_of.get(tracklet)

    def earliest_undecided(self) -> float:
        """Seconds since the recording's start at the first box of the oldest undecided tracklet, else infinity."""
        return min(self._undecided.values(), default=math.inf)

    def update(self, window: Window, growing: TrackletAssembly) -> list[Decision]:
        """Take in a window, which `growing` has taken in already, and decide what is due."""
        for followed in window.followed:
            for number in followed.numbers.tolist():
                if number not in self._person_of:
                    self._undecided.setdefault(number, followed.time)
        for number in {number for followed in window.followed for number in followed.numbers.tolist()}:
            if number in self._person_of:
                person = self._people[self._person_of[number]]
                person.seen(growing.tracklet_end(number))
                if number in window.crops:
                    person.rows = person.rows + unit_rows(window.crops[number].embedding[None])[0]
                    person.crops += 1
        due = [
            number
            for number, start in self._undecided.items()
            if window.end - start >= self._online.decide_s or growing.crop_count(number) >= self._online.decide_crops
        ]
        decisions = self._decide([growing.tracklet(number) for number in due], window.end)
        self._forget(window.end)
        return decisions

    def end(self, tracklets: Sequence[Tracklet], now: float) -> list[Decision]:
        """Decide what is undecided about tracklets that have ended, and learn from them."""
        due = [tracklet for tracklet in tracklets if tracklet.number in self._undecided]
        decisions = self._decide(due, now)
        self._ended.extend(tracklets)
        self._ended_since += len(tracklets)
        if self._ended_since >= _LEARN_AFTER:
            self._ended_since = 0
            newest = list(self._ended)
            self._appearance = self._calibration or learn_appearance(newest) or self._appearance
            self._fastest = self._linking.fastest or learn_fastest(newest)
            self._places = learn_places(newest)
        return decisions

    def forget_tracklets(self, tracklets: Sequence[Tracklet]) -> None:
        """Forget which people ended tracklets belong to; the people themselves stay."""
        for tracklet in tracklets:
            self._person_of.pop(tracklet.number, None)

    def _decide(self, tracklets: Sequence[Tracklet], now: float) -> list[Decision]:
        people = list(self._people.values())
        distances, speeds, places = self._compare(people, tracklets)
        ratios = add_appearance(places, distances, self._appearance)
        least = math.log(self._linking.probability / (1 - self._linking.probability))
        chosen = {later: earlier for earlier, later in choose_links(ratios, least, self._linking.method)}
        decisions = []
        for place, tracklet in enumerate(tracklets):
            del self._undecided[tracklet.number]
            link = None
            if place in chosen:
                row = chosen[place]
                person = people[row]
                others = np.delete(ratios[:, place], row)
                other = int(np.argmax(others)) if len(others) and np.isfinite(others).any() else None
                link = Link(
                    tracklet.camera,
                    person.last.number,
                    tracklet.number,
                    person.last.end,
                    tracklet.start,
                    float(distances[row, place]),
                    float(places[row, place]),
                    link_probability(ratios[row, place]),
                    float(speeds[row, place]),
                    None if other is None else people[other + (other >= row)].last.number,
                    0.0 if other is None else link_probability(others[other]),
                )
            else:
                end = whereabouts(tracklet, at_end=True)
                person = _Person(self._next_person, tracklet, end, np.zeros(tracklet.embeddings.shape[1]), 0)
                self._next_person += 1
                self._people[person.number] = person
            person.seen(last_second(tracklet))
            person.rows = person.rows + unit_rows(tracklet.embeddings).sum(axis=0)
            person.crops += len(tracklet.embeddings)
            self._person_of[tracklet.number] = person.number
            decisions.append(Decision(tracklet.number, person.number, tracklet.start, now, link))
        return decisions

    def _compare(
        self, people: Sequence[_Person], tracklets: Sequence[Tracklet]
    ) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """(people, tracklets) distances, needed speeds and log likelihood ratios of the place.

        A ratio is -inf where a link is impossible, and a distance NaN where one of both has too few crops.
        """
        shape = (len(people), len(tracklets))
        distances, speeds, places = np.full(shape, np.nan), np.full(shape, np.inf), np.full(shape, -np.inf)
        for column, tracklet in enumerate(tracklets):
            begins = whereabouts(tracklet, at_end=False)
            mean = unit_rows(tracklet.embeddings).mean(axis=0) if len(tracklet.embeddings) >= LEAST_CROPS else None
            for row, person in enumerate(people):
                if not 0 < tracklet.start - person.last.end <= self._linking.longest_gap_s:
                    continue
                speeds[row, column] = needed_speed(person.last, tracklet)
                if speeds[row, column] <= self._fastest:
                    places[row, column] = self._places.log_likelihood_ratio(person.place, begins)
                if mean is not None and person.crops >= LEAST_CROPS:
                    distances[row, column] = 1 - person.rows @ mean / person.crops
        return distances, speeds, places

    def _forget(self, now: float) -> None:
        """Forget people whom nobody shows, by age and by number."""
        shown = set(self._person_of.values())
        hidden = sorted(
            (person for person in self._people.values() if person.number not in shown), key=lambda one: one.last.end
        )
        surplus = len(self._people) - self._online.most_people
        for place, person in enumerate(hidden):
            if place < surplus or now - person.last.end > self._online.forget_s:
                del self._people[person.number]
