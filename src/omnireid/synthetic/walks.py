"""Where the people of drawn footage walk: from view to view, with stops where people meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnireid.synthetic.floor_plan import FARTHEST, NEAREST, View, walking_distance
from omnireid.synthetic.pose import Pose
from omnireid.synthetic.seeds import Drawn, seeded_generator
from omnireid.types import DoubleArray

_GAIT_CYCLE = 1.35  # metres walked in two steps by a person of average stature
_EASE = 0.7  # seconds in which somebody stops or starts
_ARMS = ("swing", "swing", "swing", "swing", "swing", "pocket", "phone")
_TURNS_BACK, _STOPS, _MEETS = 0.25, 0.45, 0.6


@dataclass(frozen=True)
class Walker:
    """One person at one moment in one view.

    Attributes:
        person: Index of the person, from 0.
        right: Metres to the right of the camera.
        away: Metres away from the camera.
        pose: The moment of the walk; its yaw is as the camera sees it.
    """

    person: int
    right: float
    away: float
    pose: Pose


@dataclass(frozen=True)
class _Habits:
    """What stays the same on all walks of a person."""

    person: int
    speed: float
    stride: float
    arms: tuple[str, str]
    phase: float


@dataclass(frozen=True, eq=False)
class _Visit:
    """One way through one view.

    Attributes:
        view: Index of the view.
        points: (N, 2) way in fine steps: metres to the right of the camera and away from it.
        stop: Metres along the way at which the person stops.
        pause: Seconds for which they stop.
        exit_side: 1 if the way ends at the right edge, -1 if at the left.
    """

    view: int
    points: DoubleArray
    stop: float
    pause: float
    exit_side: int


def plan_walks(views: Sequence[View], people: int, *, frames: int, rate: float, seed: int) -> list[list[list[Walker]]]:
    """Plan who is where in every frame. The walks of the first people do not depend on the number of others.

    Args:
        views: The cameras' views, clockwise.
        people: Number of people.
        frames: Number of frames.
        rate: Frames a second.
        seed: Seed of the footage.

    Returns:
        The walkers of each frame of each view, those far away first. Some of them are still outside the picture.
    """
    planned: list[list[list[Walker]]] = [[[] for _ in range(frames)] for _ in views]
    for person in range(people):
        _plan_walk(planned, views, person, rate, seed)
    for view in planned:
        for walkers in view:
            walkers.sort(key=lambda walker: (-walker.away, walker.person))
    return planned


def _plan_walk(planned: list[list[list[Walker]]], views: Sequence[View], person: int, rate: float, seed: int) -> None:
    """Add one person's walk to the frames."""
    generator = seeded_generator(seed, Drawn.WALK, person)
    pace, swing, phase, early = generator.random(4).tolist()
    arms = (_ARMS[generator.integers(len(_ARMS))], "swing")
    habits = _Habits(person, 1.05 + 0.5 * pace, 0.32 + 0.12 * swing, arms, 2 * math.pi * phase)
    index, side = person % len(views), int(generator.choice((-1, 1)))
    clock = -6 + 14 * early if person % 3 else -3.0
    frames = len(planned[0])
    while clock < frames / rate:
        visit = _draw_visit(views, index, side, generator)
        seconds = _add_visit(planned[index], visit, habits, clock, rate)
        following = index if generator.random() < _TURNS_BACK else (index + visit.exit_side) % len(views)
        if following == index and len(views) > 1:
            side, unseen = visit.exit_side, 4 + 8 * generator.random()
        else:
            side = -visit.exit_side
            ends = (index, following) if visit.exit_side > 0 else (following, index)
            unseen = walking_distance(views[ends[0]], views[ends[1]]) / habits.speed
        index, clock = following, clock + seconds + unseen


def _draw_visit(views: Sequence[View], index: int, side: int, generator: np.random.Generator) -> _Visit:
    """Draw a way through a view that begins at its left (-1) or right (1) edge."""
    view = views[index]
    first, last, where, across, stops, meets, wait = generator.random(7).tolist()
    exit_side = -side if generator.random() < 0.8 else side
    near = NEAREST + (FARTHEST - NEAREST) * np.array([first, where, last])
    if meets < _MEETS:  # everybody who comes for the meeting point stops within arm's length of it
        middle = (1.3 * (across - 0.5), 6.8 + 1.2 * (where - 0.5))
    else:
        middle = (1.6 * (across - 0.5) * (view.edge(near[1]) - 1.5), near[1])
    ends = [(side * view.edge(near[0]), near[0]), (exit_side * view.edge(near[2]), near[2])]
    points = _curve(ends[0], middle, ends[1])
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    pause = 2 + 4 * wait if stops < _STOPS else 0.0
    return _Visit(index, points, float(walked[len(walked) // 2]), pause, exit_side)


def _curve(start: tuple[float, float], middle: tuple[float, float], end: tuple[float, float]) -> DoubleArray:
    """(N, 2) points of a smooth way that passes `middle` at half of the points."""
    share = np.linspace(0, 1, 161)[:, None]
    pull = 2 * np.array(middle) - 0.5 * (np.array(start) + np.array(end))
    curve: DoubleArray = (1 - share) ** 2 * np.array(start) + 2 * share * (1 - share) * pull + share**2 * np.array(end)
    curve[:, 1] = np.clip(curve[:, 1], NEAREST, FARTHEST)
    return curve


def _add_visit(frames: list[list[Walker]], visit: _Visit, habits: _Habits, start: float, rate: float) -> float:
    """Add a visit that starts at `start` seconds to the frames of its view, and return how many seconds it takes."""
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(visit.points, axis=0).T))])
    seconds = walked[-1] / habits.speed + visit.pause
    first, last = math.ceil(start * rate), math.floor((start + seconds) * rate)
    times = np.arange(first, last + 1) / rate - start
    ahead, behind = (_distance_at(times + shift, visit, habits, walked[-1]) for shift in (0.05, -0.05))
    distance = (ahead + behind) / 2
    motion = np.clip((ahead - behind) / (0.1 * habits.speed), 0, 1)
    right, away = (np.interp(distance, walked, visit.points[:, axis]) for axis in (0, 1))
    further = np.minimum(distance + 0.3, walked[-1])
    nearer = np.maximum(further - 0.6, 0)
    step_right, step_away = (
        np.interp(further, walked, visit.points[:, axis]) - np.interp(nearer, walked, visit.points[:, axis])
        for axis in (0, 1)
    )
    bearing = np.arctan2(right, away)
    toward = -(step_right * np.sin(bearing) + step_away * np.cos(bearing))
    yaw = np.arctan2(step_right * np.cos(bearing) - step_away * np.sin(bearing), toward)
    phase = habits.phase + 2 * math.pi * distance / _GAIT_CYCLE
    for row, frame in enumerate(range(first, last + 1)):
        if 0 <= frame < len(frames):
            stride = habits.stride * float(motion[row])
            pose = Pose(float(yaw[row]), float(phase[row]), stride, 0.0, habits.arms)
            frames[frame].append(Walker(habits.person, float(right[row]), float(away[row]), pose))
    return float(seconds)


def _distance_at(times: DoubleArray, visit: _Visit, habits: _Habits, length: float) -> DoubleArray:
    """Metres walked at each time; a stop begins and ends gently."""
    arrival = visit.stop / habits.speed
    knots = [0.0, arrival, arrival + visit.pause, length / habits.speed + visit.pause]
    offsets = np.linspace(-_EASE / 2, _EASE / 2, 9)
    values = np.interp(times[:, None] + offsets, knots, [0.0, visit.stop, visit.stop, length])
    mean: DoubleArray = values.mean(axis=1)
    return mean
