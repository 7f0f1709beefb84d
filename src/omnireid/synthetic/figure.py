"""A pedestrian as round solids: trunk, legs and arms in their clothes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from omnireid.synthetic.bag import draw_bag, strap_over_trunk
from omnireid.synthetic.body import BUILDS, Body
from omnireid.synthetic.fabric import crease, inside_logo, plain, weave
from omnireid.synthetic.head import draw_head
from omnireid.synthetic.palette import CLOTH, RGB, SKIN
from omnireid.synthetic.pedestrian import NOTHING, Pedestrian
from omnireid.synthetic.pose import Limb, Pose, Viewpoint, build_skeleton
from omnireid.synthetic.solids import Canvas, Paint, Surface
from omnireid.types import FloatArray

_COLLAR = 1.46


@dataclass(frozen=True)
class _Cut:
    """How an upper garment is cut.

    Attributes:
        sleeve: 0 for none, 1 for sleeves to above the elbow, 2 for sleeves to the wrist.
        hem: Height of the lower edge in metres.
        ease: Distance between garment and body in metres.
        flare: How much wider the hem is than the hip, in metres.
        opening: Half the angle of the open front, in radians.
    """

    sleeve: int
    hem: float
    ease: float
    flare: float = 0.0
    opening: float = 0.0


_CUTS: Mapping[str, _Cut] = MappingProxyType(
    {
        "tee": _Cut(1, 0.86, 0.006),
        "shirt": _Cut(2, 0.84, 0.004),
        "vest": _Cut(0, 0.88, 0.004),
        "jacket": _Cut(2, 0.84, 0.016, opening=0.34),
        "hoodie": _Cut(2, 0.86, 0.022),
        "coat": _Cut(2, 0.62, 0.018, flare=0.05),
    }
)

# Half widths along a leg: at the hip, the knee, the calf and the ankle.
_LEG_WIDTHS: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "bare": (0.084, 0.054, 0.055, 0.037),
        "trousers": (0.094, 0.066, 0.066, 0.058),
        "slim": (0.088, 0.058, 0.058, 0.043),
        "wide": (0.098, 0.084, 0.090, 0.100),
    }
)


def draw_figure(canvas: Canvas, person: Pedestrian, pose: Pose, view: Viewpoint, *, folds: float) -> None:
    """Draw one pedestrian.

    Args:
        canvas: The canvas to draw on. Solids that are already there hide what lies behind them.
        person: The pedestrian's attributes.
        pose: The moment of the walk.
        view: Conversion from metres of a body of average stature to pixels.
        folds: Any number; it decides where cloth creases.
    """
    build = BUILDS[person.build]
    if person.lower == "long skirt":
        pose = replace(pose, stride=0.6 * pose.stride)  # it leaves no room for longer steps
    skeleton = build_skeleton(pose, hip=0.5 * build.hip[0], shoulder=build.shoulder)
    body = Body(canvas, person, pose, replace(view, scale=view.scale * person.stature), skeleton, folds)
    _draw_legs(body)
    _draw_trunk(body)
    _draw_arms(body)
    draw_head(body)
    draw_bag(body)
    canvas.render()


def _draw_legs(body: Body) -> None:
    person, limb = body.person, body.build.limb
    cloth = plain(CLOTH[person.lower_colour], folds=0.16, offset=body.folds)
    skin = plain(SKIN[person.skin])
    dressed = person.lower in _LEG_WIDTHS
    covered = 0.5 if person.lower in ("skirt", "long skirt") else 0.0  # the part of a thigh that a skirt hides
    hip, knee, calf, ankle = (width * limb for width in _LEG_WIDTHS[person.lower if dressed else "bare"])
    paint = cloth if dressed else skin
    for leg in body.skeleton.legs:
        top = leg.root + covered * (leg.middle - leg.root)
        body.tube(top, leg.middle, [(0, 0.8 * hip), (0.3, hip), (1, knee)], paint, caps=(0.4, 1))
        body.tube(leg.middle, leg.end, [(0, knee), (0.3, calf), (1, ankle)], paint, caps=(1, 0.2))
        if person.lower == "shorts":
            end = leg.root + 0.92 * (leg.middle - leg.root)
            body.tube(leg.root, end, [(0, 0.078 * limb), (0.3, 0.098 * limb), (1, 0.09 * limb)], cloth, caps=(1, 0))
        _draw_shoe(body, leg)
    if person.lower in ("skirt", "long skirt"):
        _draw_skirt(body, cloth)


def _draw_skirt(body: Body, cloth: Paint) -> None:
    hem = 0.50 if body.person.lower == "skirt" else 0.17
    drop = 0.95 - hem
    width, depth = body.build.hip
    spread = drop * np.sin(body.pose.stride) * abs(np.sin(body.pose.phase))
    end = (1.0, width + 0.07 * drop + 0.02, depth + 0.05 * drop + 0.02 + 0.8 * spread)
    seat = (0.4, width + 0.03 * drop, depth + 0.02 + 0.5 * spread)
    profile = [(0, 0.97 * width, 0.97 * depth), seat, end]
    body.tube(body.joint(0, 0.95, 0), body.joint(0, hem, 0), profile, cloth, caps=(0.3, 0.0))


def _draw_shoe(body: Body, leg: Limb) -> None:
    person = body.person
    upper, sole = CLOTH[person.shoe_colour], CLOTH[person.sole_colour]
    ahead = (leg.tip - leg.end) / np.linalg.norm(leg.tip - leg.end)
    down = np.array([0.0, -0.035, 0.0])
    heel, toe = leg.end - 0.045 * ahead + down, leg.end + 0.155 * ahead + 0.35 * down
    body.tube(heel, toe, [(0, 0.046), (0.5, 0.048), (1, 0.036)], plain(upper))
    drop = np.array([0.0, -0.026, 0.0])
    body.tube(heel + drop, toe + 0.6 * drop, [(0, 0.036), (0.6, 0.040), (1, 0.032)], plain(sole))
    shaft = {"sneaker": 0.0, "high-top": 0.11, "boot": 0.24}[person.shoe]
    if not shaft or person.lower == "wide":  # wide trousers cover it
        return
    up = (leg.middle - leg.end) / np.linalg.norm(leg.middle - leg.end)
    _, _, calf, ankle = (width * body.build.limb for width in _LEG_WIDTHS.get(person.lower, _LEG_WIDTHS["bare"]))
    bottom = max(ankle + 0.008, 0.05)
    top = max(ankle + (calf - ankle) * shaft / 0.29 + 0.009, bottom)
    body.tube(leg.end - 0.03 * up, leg.end + shaft * up, [(0, bottom), (1, top)], plain(upper), caps=(0.3, 0))


def _draw_trunk(body: Body) -> None:
    person, build = body.person, body.build
    cut = _CUTS[person.upper]
    below = plain(CLOTH[person.lower_colour], folds=0.1, offset=body.folds)
    seat = [(0, 0.86 * build.hip[0], 0.88 * build.hip[1]), (1, 0.96 * build.hip[0], 0.96 * build.hip[1])]
    body.tube(body.joint(0, 0.84, 0), body.joint(0, 0.94, 0), seat, below, caps=(0.35, 0.1))
    length = _COLLAR - cut.hem
    stride = 0.3 * np.sin(body.pose.stride) * abs(np.sin(body.pose.phase)) if cut.flare else 0.0
    rings = [(0.92, build.hip), (1.08, build.waist), (1.28, build.chest)]
    hem = (0.0, build.hip[0] + cut.ease + cut.flare, build.hip[1] + cut.ease + cut.flare + stride)
    middle = [
        ((up - cut.hem) / length, width + cut.ease, depth + cut.ease)
        for up, (width, depth) in rings
        if up > cut.hem + 0.03
    ]
    shoulders = [(0.90, build.shoulder + 0.012 + cut.ease, 0.09 + cut.ease), (1.0, 0.84 * build.shoulder, 0.07)]
    paint = _upper_paint(body, cut, length)
    body.tube(
        body.joint(0, cut.hem, 0), body.joint(0, _COLLAR, 0), [hem, *middle, *shoulders], paint, caps=(0.12, 0.28)
    )
    _draw_collar(body)


def _upper_paint(body: Body, cut: _Cut, length: float) -> Paint:
    """Paint of the trunk: woven pattern, open front, logo on chest and back, strap of a bag."""
    person = body.person
    base = _rgb(CLOTH[person.upper_colour])
    second = base if person.pattern == "plain" else _rgb(CLOTH[person.pattern_colour])
    inner = _rgb(CLOTH["white" if person.upper_colour in ("black", "navy", "burgundy", "brown") else "black"])
    girth = body.build.chest[0] + cut.ease

    def paint(surface: Surface) -> FloatArray:
        x, up = surface.angle * np.float32(girth), surface.along * np.float32(length)
        colour = _blend(base, second, weave(person.pattern, x, up, surface.along))
        if cut.opening:
            opening = np.abs(surface.angle) < cut.opening * (0.4 + 0.6 * surface.along)
            colour[opening] = inner
        if person.logo != NOTHING:
            colour[_logo(person, surface, girth, up - np.float32(1.24 - cut.hem))] = _rgb(CLOTH[person.logo_colour])
        colour *= crease(surface, 0.13, body.folds)[:, None]
        strap = strap_over_trunk(person.bag, surface, cut.hem, length)
        if strap is not None:
            colour[strap] = _rgb(CLOTH[person.bag_colour])
        return colour

    return paint


def _logo(person: Pedestrian, surface: Surface, girth: float, up: FloatArray) -> np.ndarray:
    """Which pixels of the trunk show the logo. `up` is in metres above the middle of the chest."""
    middle, size = {"left": (0.085, 0.115), "centre": (0.0, 0.17), "right": (-0.085, 0.115)}[person.logo_place]
    chest = inside_logo(person.logo, surface.angle * np.float32(girth) - np.float32(middle), up, size)
    behind = np.where(surface.angle > 0, surface.angle - np.float32(np.pi), surface.angle + np.float32(np.pi))
    back = inside_logo(person.logo, behind * np.float32(girth) + np.float32(middle), up, size)
    return chest | back


def _draw_collar(body: Body) -> None:
    person = body.person
    colour = person.upper_colour if person.trim_colour == NOTHING else person.trim_colour
    neck = body.joint(0, _COLLAR - 0.01, 0.0)
    body.tube(neck, body.joint(0, 1.60, 0.015), [(0, 0.052), (1, 0.05)], plain(SKIN[person.skin]))
    collar = plain(_scaled(CLOTH[colour], 0.94))
    body.tube(neck, body.joint(0, 1.495, 0.004), [(0, 0.092, 0.078), (1, 0.068, 0.064)], collar, caps=(0.2, 0.1))
    if person.upper == "hoodie":
        hood = plain(_scaled(CLOTH[person.upper_colour], 0.86), folds=0.15, offset=body.folds)
        body.tube(body.joint(-0.05, 1.455, -0.085), body.joint(0.05, 1.455, -0.085), [(0, 0.062), (1, 0.062)], hood)


def _draw_arms(body: Body) -> None:
    person, limb = body.person, body.build.limb
    cut = _CUTS[person.upper]
    ease = cut.ease * 0.7
    skin = plain(SKIN[person.skin])
    shoulder, elbow, wrist = 0.053 * limb, 0.044 * limb, 0.032 * limb
    for arm in body.skeleton.arms:
        sleeve = _sleeve_paint(body, reach=0.75 if cut.sleeve == 1 else 2.0)
        cuffed = _sleeve_paint(body, reach=0.9)
        long = cut.sleeve == 2
        upper = [(0, shoulder + ease), (1, elbow + (ease + 0.004 if long else 0))]
        lower = [(0, elbow + (ease + 0.004 if long else 0)), (1, wrist + (ease + 0.006 if long else 0))]
        body.tube(arm.root, arm.middle, upper, sleeve if cut.sleeve else skin)
        body.tube(arm.middle, arm.end, lower, cuffed if long else skin, caps=(1, 0.3))
        body.tube(arm.end, arm.tip, [(0, 0.030), (0.6, 0.040), (1, 0.028)], skin)


def _sleeve_paint(body: Body, *, reach: float) -> Paint:
    """Paint of an arm with a cuff at the fraction `reach` of its length. Beyond a short sleeve's cuff there is skin."""
    person = body.person
    base, skin = _rgb(CLOTH[person.upper_colour]), _rgb(SKIN[person.skin])
    trim = base if person.trim_colour == NOTHING else _rgb(CLOTH[person.trim_colour])
    hoops = person.pattern in ("hoops", "checks")
    second = _rgb(CLOTH[person.pattern_colour]) if hoops else base

    def paint(surface: Surface) -> FloatArray:
        share = weave("hoops", surface.angle, surface.along * np.float32(0.28), surface.along)
        colour = _blend(base, second, share if person.pattern == "hoops" else 0.5 * share)
        colour[surface.along > reach - 0.14] = trim
        colour *= crease(surface, 0.15, body.folds + 3)[:, None]
        if reach < 0.8:
            colour[surface.along > reach] = skin
        return colour

    return paint


def _blend(first: FloatArray, second: FloatArray, share: FloatArray) -> FloatArray:
    """(N, 3) colours from `first` (share 0) to `second` (share 1)."""
    mixed: FloatArray = first + share[:, None] * (second - first)
    return mixed


def _rgb(colour: RGB) -> FloatArray:
    return np.array(colour, dtype=np.float32)


def _scaled(colour: RGB, factor: float) -> RGB:
    red, green, blue = (round(value * factor) for value in colour)
    return red, green, blue
