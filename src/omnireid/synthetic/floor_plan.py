"""Where the cameras of drawn footage stand, and which part of the ground each of them sees.

The cameras stand around a building and look away from it, so their views do not overlap. Who leaves a view at its right
edge comes to the left edge of the next camera's view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnireid.synthetic.seeds import Drawn, seeded_generator

NEAREST, FARTHEST = 5.0, 10.0
"""Metres from the camera between which people walk."""
_FLOOR_END = 14.5  # metres at which the floor ends and the wall begins
_MARGIN = 0.9  # metres beyond the edge of the view at which a person is out of sight
_MIDDLE = 7.0  # metres from the camera at which distances between views are measured


@dataclass(frozen=True)
class View:
    """What one camera sees.

    Ground positions are metres to the right of the camera and away from it.

    Attributes:
        camera_id: Camera id, from 1.
        position: Metres east and north of the middle of the building.
        heading: Direction of view in radians, counter-clockwise from east.
        mounting: Height of the camera above the ground in metres.
        pitch: Angle by which the camera looks down, in radians.
        focal_length: Focal length in pixels.
        width: Width of a frame in pixels.
        height: Height of a frame in pixels.
        floor_end: Where the floor ends in the picture, as a fraction of the height.
    """

    camera_id: int
    position: tuple[float, float]
    heading: float
    mounting: float
    pitch: float
    focal_length: float
    width: int
    height: int
    floor_end: float

    @property
    def name(self) -> str:
        """Name of the camera and of its folder."""
        return f"camera-{self.camera_id}"

    def project(self, right: float, away: float) -> tuple[float, float, float]:
        """Column and row of a point on the ground in pixels, and pixels per metre there."""
        depth = away * math.cos(self.pitch) + self.mounting * math.sin(self.pitch)
        drop = self.mounting * math.cos(self.pitch) - away * math.sin(self.pitch)
        scale = self.focal_length / depth
        return self.width / 2 + scale * right, self.height / 2 + scale * drop, scale

    def edge(self, away: float) -> float:
        """Metres to the side at which a person who is `away` metres from the camera is out of sight."""
        return self.width / 2 / self.project(0, away)[2] + _MARGIN

    def elevation(self, away: float) -> float:
        """Angle below the horizon at which a point on the ground is seen, in radians."""
        return math.atan2(self.mounting, away)

    def on_plan(self, right: float, away: float) -> tuple[float, float]:
        """Metres east and north of the middle of the building."""
        ahead, aside = (math.cos(self.heading), math.sin(self.heading)), self.heading - math.pi / 2
        east = self.position[0] + away * ahead[0] + right * math.cos(aside)
        return east, self.position[1] + away * ahead[1] + right * math.sin(aside)


def place_cameras(cameras: int, *, seed: int, height: int) -> tuple[View, ...]:
    """Place cameras around a building, clockwise.

    Args:
        cameras: Number of cameras.
        seed: Seed of the footage.
        height: Height of a frame in pixels. A frame is 16:9, and its width is even.
    """
    width = 2 * round(height * 8 / 9)
    focal_length = 0.95 * width
    radius = 4.0 if cameras < 3 else max(4.0, 9.5 / math.tan(math.pi / cameras) - _MIDDLE)
    views = []
    for camera_id in range(1, cameras + 1):
        lift, tilt = seeded_generator(seed, Drawn.VIEW, camera_id).random(2).tolist()
        mounting, floor_end = 2.4 + 0.4 * lift, 0.38 + 0.06 * tilt
        pitch = math.atan2(mounting, _FLOOR_END) - math.atan((floor_end - 0.5) * height / focal_length)
        heading = -2 * math.pi * (camera_id - 1) / cameras
        position = (radius * math.cos(heading), radius * math.sin(heading))
        size = (focal_length, width, height, floor_end)
        views.append(View(camera_id, position, heading, mounting, pitch, *size))
    return tuple(views)


def walking_distance(first: View, second: View) -> float:
    """Metres from the right edge of a view to the left edge of the next one, out of sight of both."""
    if first.camera_id == second.camera_id:
        return 14.0  # around the building
    start = first.on_plan(first.edge(_MIDDLE), _MIDDLE)
    return math.dist(start, second.on_plan(-second.edge(_MIDDLE), _MIDDLE))
