"""Tracklets of people who are known, for tests of linking."""

from __future__ import annotations

import numpy as np

from omnireid.tracking.tracklets import Tracklet

RATE = 10.0
WIDTH = 16


def walker(
    number: int,
    person: int,
    frames: tuple[int, int],
    *,
    left: float = 100.0,
    speed: float = 0.0,
    crops_every: int = 1,
    camera: str = "door",
) -> Tracklet:
    """A tracklet of a person, whose crops look alike, walking at `speed` pixels a second; boxes are 100 pixels high."""
    numbers = np.arange(*frames, dtype=np.int64)
    times = numbers / RATE
    lefts = left + speed * times
    boxes = np.stack([lefts, np.full_like(lefts, 50), lefts + 40, np.full_like(lefts, 150)], axis=1).astype(np.float32)
    embedded = np.arange(0, len(numbers), crops_every, dtype=np.int64)
    noise = np.random.default_rng(number).normal(0, 0.1, (len(embedded), WIDTH))
    embeddings = (np.eye(WIDTH)[person] + noise).astype(np.float32)
    return Tracklet(
        camera,
        number,
        numbers,
        times,
        boxes,
        np.full(len(numbers), 0.9, np.float32),
        embedded,
        embeddings,
        np.full(len(embedded), 0.8, np.float32),
    )


def join(first: Tracklet, second: Tracklet) -> Tracklet:
    """Both tracklets as one, as a motion tracker gives them that went over from one person to the other."""
    return Tracklet(
        first.camera,
        first.number,
        np.concatenate([first.frames, second.frames]),
        np.concatenate([first.times, second.times]),
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.embedded, second.embedded + len(first.frames)]),
        np.concatenate([first.embeddings, second.embeddings]),
        np.concatenate([first.qualities, second.qualities]),
    )


def crowd() -> list[Tracklet]:
    """Six people seen at the same time for two seconds, side by side, who then leave."""
    return [walker(number, number, (0, 20), left=100.0 * number) for number in range(6)]
