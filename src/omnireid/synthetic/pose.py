"""How a pedestrian stands in front of a camera: gait, joints, and projection to pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from omnireid.types import DoubleArray

_THIGH, _SHIN, _FOOT = 0.42, 0.41, 0.17
_UPPER_ARM, _FOREARM = 0.28, 0.24
_HIP_HEIGHT, _ANKLE_HEIGHT = 0.90, 0.075
_ARMS = ("swing", "swing", "swing", "swing", "pocket", "phone", "strap")


@dataclass(frozen=True)
class Pose:
    """One moment of a walk.

    Attributes:
        yaw: Walking direction in radians: 0 is towards the viewer, pi / 2 to the right of the picture.
        phase: Position in the gait cycle in radians.
        stride: Angle by which a thigh swings out in radians; 0 for standing still.
        head_turn: Angle by which the head turns to the person's left in radians.
        arms: Action of the left and the right arm: swing, pocket, phone or strap.
    """

    yaw: float
    phase: float
    stride: float
    head_turn: float
    arms: tuple[str, str]


def draw_pose(generator: np.random.Generator, *, yaw: float) -> Pose:
    """Draw a pose of somebody who walks in the direction `yaw`."""
    phase, stride, turn = generator.random(), generator.random(), generator.random()
    arms = [_ARMS[generator.integers(len(_ARMS))] for _ in range(2)]
    return Pose(yaw, 2 * np.pi * phase, 0.12 + 0.38 * stride, 0.7 * (turn - 0.5), (arms[0], arms[1]))


@dataclass(frozen=True)
class Viewpoint:
    """The conversion from metres to pixels.

    Attributes:
        scale: Pixels per metre.
        foot_x: Column of the point on the ground below the body.
        foot_y: Row of that point.
        pitch: Angle by which the camera looks down in radians.
        roll: Angle by which the picture is tilted in radians.
        nearer: Pixels of depth by which the body stands in front of others.
    """

    scale: float
    foot_x: float
    foot_y: float
    pitch: float
    roll: float
    nearer: float = 0.0

    def project(self, point: DoubleArray, yaw: float) -> tuple[float, float, float]:
        """Project (left, up, front) in metres of a body turned by `yaw` to (x, y, depth) in pixels."""
        left, up, front = point.tolist()
        x = left * math.cos(yaw) + front * math.sin(yaw)
        z = front * math.cos(yaw) - left * math.sin(yaw)
        height = up * math.cos(self.pitch) - z * math.sin(self.pitch)
        depth = z * math.cos(self.pitch) + up * math.sin(self.pitch)
        across = x * math.cos(self.roll) - height * math.sin(self.roll)
        rise = height * math.cos(self.roll) + x * math.sin(self.roll)
        return self.foot_x + self.scale * across, self.foot_y - self.scale * rise, self.scale * depth + self.nearer


@dataclass(frozen=True, eq=False)
class Limb:
    """Joints of an arm (shoulder, elbow, wrist, fingers) or a leg (hip, knee, ankle, toes), in metres.

    Each joint is (left, up, front) as seen from the body.
    """

    root: DoubleArray
    middle: DoubleArray
    end: DoubleArray
    tip: DoubleArray


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints of a body of average stature, in metres. Index 0 is the left limb, 1 the right.

    Attributes:
        legs: Joints from hip to toes.
        arms: Joints from shoulder to fingers.
        rise: Height of the trunk above its rest position. A stride lowers it, so it is negative then.
    """

    legs: tuple[Limb, Limb]
    arms: tuple[Limb, Limb]
    rise: float


def build_skeleton(pose: Pose, *, hip: float, shoulder: float) -> Skeleton:
    """Bend the joints into a pose in which the lower foot touches the ground.

    Args:
        pose: The moment of the walk.
        hip: Metres from the middle to a hip joint.
        shoulder: Metres from the middle to a shoulder joint.
    """
    phases = (pose.phase, pose.phase + np.pi)
    legs = [_leg(side * hip, phase, pose.stride) for side, phase in zip((1, -1), phases, strict=True)]
    rise = -min(float(min(leg.end[1] - _ANKLE_HEIGHT, leg.tip[1] - 0.03)) for leg in legs)
    lift = np.array([0.0, rise, 0.0])
    legs = [Limb(leg.root + lift, leg.middle + lift, leg.end + lift, leg.tip + lift) for leg in legs]
    arms = [
        _arm(side, shoulder, 1.39 + rise, -0.85 * pose.stride * np.sin(phase), kind)
        for side, phase, kind in zip((1, -1), phases, pose.arms, strict=True)
    ]
    return Skeleton((legs[0], legs[1]), (arms[0], arms[1]), rise)


def _sagittal(angle: float, length: float, left: float = 0.0) -> DoubleArray:
    """A hanging bone, swung forward by `angle`."""
    return np.array([left, -np.cos(angle) * length, np.sin(angle) * length])


def _leg(left: float, phase: float, stride: float) -> Limb:
    thigh = stride * np.sin(phase)
    shin = thigh - 0.06 - 1.7 * stride * max(np.cos(phase), 0.0) ** 1.5
    foot = 0.65 * shin
    root = np.array([left, _HIP_HEIGHT, 0.0])
    middle = root + _sagittal(thigh, _THIGH)
    end = middle + _sagittal(shin, _SHIN)
    tip = end + np.array([np.sign(left) * 0.025, np.sin(foot) * _FOOT - 0.035, np.cos(foot) * _FOOT])
    return Limb(root, middle, end, tip)


def _arm(side: int, shoulder: float, height: float, swing: float, kind: str) -> Limb:
    """The arm on `side` (1 for left, -1 for right). A free arm swings forward by `swing` radians."""
    upper, bend, spread, inward = {
        "swing": (swing, 0.22 + 0.5 * max(swing, 0.0), 0.10, 0.0),
        "pocket": (-0.28, 0.75, 0.32, 0.10),
        "phone": (0.35, 1.75, 0.12, 0.12),
        "strap": (0.25, 2.35, 0.22, 0.10),
    }[kind]
    root = np.array([side * shoulder, height, 0.0])
    middle = root + _sagittal(upper, _UPPER_ARM * np.cos(spread), side * _UPPER_ARM * np.sin(spread))
    end = middle + _sagittal(upper + bend, _FOREARM, -side * inward)
    tip = end + 0.09 * (end - middle) / np.linalg.norm(end - middle)
    return Limb(root, middle, end, tip)
