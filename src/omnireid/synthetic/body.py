"""A body on a canvas: its build, its joints, and how its parts are placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from omnireid.synthetic.pedestrian import Pedestrian
from omnireid.synthetic.pose import Pose, Skeleton, Viewpoint
from omnireid.synthetic.solids import Canvas, Keep, Paint
from omnireid.types import DoubleArray


@dataclass(frozen=True)
class Build:
    """Half widths and half thicknesses of a trunk of average stature, in metres.

    Attributes:
        shoulder: Distance from the middle to a shoulder joint.
        chest: Half width and half thickness.
        waist: Half width and half thickness.
        hip: Half width and half thickness.
        limb: Thickness of arms and legs, relative to the average.
    """

    shoulder: float
    chest: tuple[float, float]
    waist: tuple[float, float]
    hip: tuple[float, float]
    limb: float


BUILDS: Mapping[str, Build] = MappingProxyType(
    {
        "slim": Build(0.158, (0.148, 0.095), (0.122, 0.082), (0.138, 0.095), 0.84),
        "average": Build(0.176, (0.168, 0.110), (0.142, 0.098), (0.155, 0.108), 1.0),
        "broad": Build(0.204, (0.198, 0.128), (0.165, 0.112), (0.164, 0.115), 1.15),
        "curvy": Build(0.160, (0.156, 0.118), (0.128, 0.098), (0.182, 0.132), 1.03),
        "stout": Build(0.192, (0.192, 0.150), (0.208, 0.172), (0.196, 0.152), 1.20),
    }
)


@dataclass(frozen=True, eq=False)
class Body:
    """One pedestrian in one pose in front of one camera.

    Attributes:
        canvas: The canvas it is drawn on.
        person: The pedestrian's attributes.
        pose: The moment of the walk.
        view: Conversion from metres to pixels; its scale already includes the stature.
        skeleton: Positions of the joints, in metres of an average body.
        folds: Any number; it decides where cloth creases in this crop.
    """

    canvas: Canvas
    person: Pedestrian
    pose: Pose
    view: Viewpoint
    skeleton: Skeleton
    folds: float

    @property
    def build(self) -> Build:
        """The proportions of this body."""
        return BUILDS[self.person.build]

    def joint(self, left: float, up: float, front: float) -> DoubleArray:
        """A point given in the trunk's rest pose, moved to where the trunk is now."""
        return np.array([left, up + self.skeleton.rise, front])

    def tube(
        self,
        start: DoubleArray,
        end: DoubleArray,
        profile: Sequence[tuple[float, float] | tuple[float, float, float]],
        paint: Paint,
        *,
        turn: float = 0.0,
        caps: tuple[float, float] = (1.0, 1.0),
        keep: Keep | None = None,
    ) -> None:
        """Call `Canvas.add_tube` with lengths in metres of the body.

        Args:
            start: (left, up, front) of one end.
            end: (left, up, front) of the other end.
            profile: (along, half width, half thickness), or (along, radius) for a round tube.
            paint: Colours of the surface.
            turn: Rotation of the tube to the person's left in radians, as a head turns.
            caps: Height of the rounded ends.
            keep: Which pixels of the surface exist.
        """
        scale = self.view.scale
        yaw = self.pose.yaw
        pixels = [(row[0], row[1] * scale, row[-1] * scale) for row in profile]
        first, last = self.view.project(start, yaw), self.view.project(end, yaw)
        self.canvas.add_tube(first, last, pixels, paint, yaw=yaw + turn, caps=caps, keep=keep)
