"""What a pedestrian carries: backpack, shoulder bag, handbag or tote."""

from __future__ import annotations

import numpy as np

from omnireid.synthetic.body import Body
from omnireid.synthetic.fabric import plain
from omnireid.synthetic.palette import CLOTH, RGB
from omnireid.synthetic.solids import Paint, Surface
from omnireid.types import BoolArray, FloatArray


def draw_bag(body: Body) -> None:
    """Draw the bag of `body`, if it has one."""
    draw = {"backpack": _backpack, "shoulder bag": _shoulder_bag, "handbag": _handbag, "tote": _tote}
    if body.person.bag in draw:
        draw[body.person.bag](body)


def strap_over_trunk(bag: str, surface: Surface, hem: float, length: float) -> BoolArray | None:
    """(N,) which pixels of the upper garment the strap of a bag covers; None for a bag without a strap over it.

    Args:
        bag: Kind of bag.
        surface: Pixels of the garment.
        hem: Height of the garment's lower edge in metres.
        length: Metres from hem to collar.
    """
    up = np.float32(hem) + surface.along * np.float32(length)
    if bag == "backpack":
        return (np.abs(np.abs(surface.angle) - 0.62) < 0.14) & (up > 1.12)
    if bag in ("shoulder bag", "tote"):
        # The strap runs from the right shoulder to the left hip over chest and back, so the angle folds at the sides.
        folded = np.where(
            np.abs(surface.angle) > np.pi / 2, np.sign(surface.angle) * np.pi - surface.angle, surface.angle
        )
        if bag == "tote":
            return (np.abs(folded - 1.0) < 0.13) & (up > 1.1)
        return (np.abs(up - (1.27 - 0.30 * folded)) < 0.032) & (up < 1.45)
    return None


def _leather(colour: RGB, flap: float, *, dark: float = 0.74) -> Paint:
    """A bag's material with a dark seam at the fraction `flap` of its height, which counts from the bottom."""
    base = np.array(colour, dtype=np.float32)

    def paint(surface: Surface) -> FloatArray:
        shade = np.where(surface.along > flap, np.float32(1), np.float32(0.9))
        shade = np.where(np.abs(surface.along - flap) < 0.035, np.float32(dark), shade)
        coloured: FloatArray = base * shade[:, None]
        return coloured

    return paint


def _backpack(body: Body) -> None:
    colour = CLOTH[body.person.bag_colour]
    behind = -body.build.chest[1] - 0.07
    profile = [(0, 0.135, 0.075), (0.2, 0.155, 0.105), (0.75, 0.145, 0.085), (1, 0.11, 0.06)]
    body.tube(
        body.joint(0, 1.02, behind),
        body.joint(0, 1.41, behind + 0.01),
        profile,
        _leather(colour, 0.45),
        caps=(0.25, 0.4),
    )
    pocket = [(0, 0.10, 0.05), (1, 0.095, 0.05)]
    body.tube(
        body.joint(0, 1.05, behind - 0.075), body.joint(0, 1.17, behind - 0.07), pocket, plain(colour), caps=(0.2, 0.2)
    )


def _shoulder_bag(body: Body) -> None:
    out = max(body.build.hip[0], body.build.waist[0]) + 0.05
    profile = [(0, 0.05, 0.13), (0.5, 0.06, 0.14), (1, 0.045, 0.13)]
    paint = _leather(CLOTH[body.person.bag_colour], 0.5)
    body.tube(body.joint(out, 0.80, 0.0), body.joint(out, 1.0, 0.0), profile, paint, caps=(0.15, 0.15))


def _tote(body: Body) -> None:
    out = max(body.build.shoulder, body.build.waist[0]) + 0.055
    profile = [(0, 0.045, 0.15), (1, 0.03, 0.165)]
    paint = _leather(CLOTH[body.person.bag_colour], 0.93)
    body.tube(body.joint(out, 0.78, -0.03), body.joint(out, 1.10, -0.03), profile, paint, caps=(0.1, 0.05))


def _handbag(body: Body) -> None:
    """Draw a bag that hangs from the right hand."""
    hand = body.skeleton.arms[1].tip
    colour = CLOTH[body.person.bag_colour]
    top, bottom = hand + np.array([0, -0.09, 0.0]), hand + np.array([0, -0.27, 0.0])
    for offset in (-0.07, 0.07):
        body.tube(hand, top + np.array([0, -0.02, offset]), [(0, 0.010), (1, 0.010)], plain(colour))
    profile = [(0, 0.055, 0.15), (0.6, 0.05, 0.135), (1, 0.035, 0.11)]
    body.tube(bottom, top, profile, _leather(colour, 0.62), caps=(0.15, 0.15))
