"""Tables of several cameras with people who are known, for tests of linking across cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from omnireid.tracking.track_table import Recording, TrackTable
from omnireid.tracking.tracklets import Tracklet

from .walkers import RATE, walker

START = "2026-05-01T10:00:00+00:00"
CAMERAS = ("door", "hall", "yard")
TINT = 14  # the dimension in which a camera tints all its crops


def seen(camera: str, number: int, person: int, start_s: float, seconds: float = 3.0) -> Tracklet:
    """A tracklet of a person, whose crops have the light of their camera."""
    first = round(start_s * RATE)
    one = walker(number, person, (first, first + round(seconds * RATE)), camera=camera, crops_every=5)
    tint = 0.1 * len(camera) * np.eye(one.embeddings.shape[1], dtype=np.float32)[TINT]
    noise = np.random.default_rng([number, *camera.encode()]).normal(0, 0.1, one.embeddings.shape)
    return replace(one, embeddings=(one.embeddings + tint + noise).astype(np.float32))


def table(tracklets: Sequence[Tracklet], started: str | None = START, weights: str = "a") -> TrackTable:
    """A table of these tracklets, with the cameras they are of."""
    cameras = dict.fromkeys(one.camera for one in tracklets)
    return TrackTable(
        tuple(tracklets),
        {},
        {camera: Recording(640, 480, started) for camera in cameras},
        weights * 64,
        {"height": 256},
    )


def walks(people: int = 10, cameras: Sequence[str] = CAMERAS, pause_s: float = 8.0) -> list[Tracklet]:
    """People who walk through the cameras one after another, each 11 s from one to the next, and 8 s apart."""
    return [
        seen(camera, person, person, person * pause_s + place * 11)
        for person in range(people)
        for place, camera in enumerate(cameras)
    ]
