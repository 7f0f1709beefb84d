"""Heads: face, hair and hats."""

from __future__ import annotations

import numpy as np

from omnireid.synthetic.body import Body
from omnireid.synthetic.fabric import plain
from omnireid.synthetic.palette import CLOTH, HAIR, SKIN
from omnireid.synthetic.pedestrian import NOTHING
from omnireid.synthetic.solids import Keep, Paint, Surface
from omnireid.types import BoolArray, DoubleArray, FloatArray

_CHIN, _CROWN = 1.565, 1.70
_SKULL = ((0.0, 0.061, 0.076), (0.45, 0.081, 0.099), (1.0, 0.080, 0.101))
_CAPS = (0.75, 0.80)
# How far hair stands off the head, in metres.
_VOLUME = {"buzz": 0.002, "short": 0.012, "curly": 0.048, "bob": 0.022, "long": 0.020, "ponytail": 0.008, "bun": 0.008}


def draw_head(body: Body) -> None:
    """Draw face, hair and hat of `body`."""
    person = body.person
    _tube(body, 0.0, plain_face(body))
    if person.hair != NOTHING:
        hair = _strands(HAIR[person.hair_colour])
        _tube(body, _VOLUME[person.hair], hair, keep=_hair_line(person.hair, under_hat=person.hat != NOTHING))
        _draw_lengths(body, hair)
    if person.hat == "headscarf":
        _draw_headscarf(body)
    elif person.hat != NOTHING:
        _draw_hat(body)


def _tube(body: Body, extra: float, paint: Paint, keep: Keep | None = None) -> None:
    profile = [(along, width + extra, depth + extra) for along, width, depth in _SKULL]
    body.tube(
        body.joint(0, _CHIN, 0.03),
        body.joint(0, _CROWN, 0.015),
        profile,
        paint,
        turn=body.pose.head_turn,
        caps=_CAPS,
        keep=keep,
    )


def plain_face(body: Body) -> Paint:
    """Paint of a face: skin with eyes, brows and a mouth."""
    skin = np.array(SKIN[body.person.skin], dtype=np.float32)
    hair = HAIR.get(body.person.hair_colour, HAIR["black"])
    brow = np.array(hair, dtype=np.float32) * np.float32(0.7)

    def paint(surface: Surface) -> FloatArray:
        colour = np.repeat(skin[None], len(surface.angle), axis=0)
        aside = np.abs(np.abs(surface.angle) - 0.42)
        colour[(aside < 0.20) & (np.abs(surface.along - 0.66) < 0.045)] = 0.55 * skin + 0.45 * brow
        colour[(aside < 0.13) & (np.abs(surface.along - 0.52) < 0.055)] = (38, 30, 30)
        colour[(np.abs(surface.angle) < 0.1) & (np.abs(surface.along - 0.34) < 0.12)] *= np.float32(0.9)
        colour[(np.abs(surface.angle) < 0.3) & (np.abs(surface.along - 0.06) < 0.05)] *= (0.86, 0.62, 0.62)
        return colour

    return paint


def _strands(rgb: tuple[int, int, int]) -> Paint:
    base = np.array(rgb, dtype=np.float32)

    def paint(surface: Surface) -> FloatArray:
        shine = 1 + 0.10 * np.sin(surface.angle * 13) + 0.12 * np.sin(surface.along * 7 + 1)
        coloured: FloatArray = base * shine[:, None].astype(np.float32)
        return coloured

    return paint


def _hair_line(hair: str, *, under_hat: bool) -> Keep:
    """Which pixels of the head have hair: crown and back, and as much of the sides as the style covers."""
    top = 0.76 if under_hat else np.inf
    low = {"buzz": 0.25, "short": 0.12, "curly": 0.05, "bob": -1.0, "long": -1.0, "ponytail": 0.1, "bun": 0.1}[hair]

    def keep(surface: Surface) -> BoolArray:
        turned = np.abs(surface.angle)
        edge = np.where(turned < 0.95, 0.90 - 0.12 * turned, np.where(turned < 1.35, low + 0.28, low))
        kept: BoolArray = (surface.along > edge) & (surface.along < top)
        return kept

    return keep


def _draw_lengths(body: Body, hair: Paint) -> None:
    """Draw hair that falls from the head or is tied to it."""
    style = body.person.hair
    if style in ("bob", "long"):
        reach = 1.50 if style == "bob" else 1.30
        profile = [(0, 0.088, 0.052), (0.6, 0.098, 0.05), (1, 0.07, 0.035)]
        body.tube(_behind(body, 1.66, 0.055), _behind(body, reach, 0.075), profile, hair, turn=body.pose.head_turn / 2)
    elif style == "ponytail":
        profile = [(0, 0.026, 0.026), (0.4, 0.038, 0.038), (1, 0.018, 0.018)]
        body.tube(_behind(body, 1.70, 0.105), _behind(body, 1.43, 0.125), profile, hair)
    elif style == "bun":
        body.tube(_behind(body, 1.735, 0.075), _behind(body, 1.75, 0.08), [(0, 0.046), (1, 0.046)], hair)


def _behind(body: Body, up: float, back: float) -> DoubleArray:
    """A point behind the head, which turns with it."""
    turn = body.pose.head_turn
    return body.joint(-back * np.sin(turn), up, -back * np.cos(turn))


def _draw_hat(body: Body) -> None:
    colour = CLOTH[body.person.hat_colour]
    beanie = body.person.hat == "beanie"
    brim = np.array(colour, dtype=np.float32)

    def paint(surface: Surface) -> FloatArray:
        shade = np.where(surface.along < 0.86, np.float32(0.78), np.float32(1))
        coloured: FloatArray = brim * shade[:, None]
        return coloured

    _tube(body, 0.026 if beanie else 0.020, paint, keep=lambda surface: surface.along > 0.74)
    if not beanie:
        turn = body.pose.head_turn
        front = body.joint(0.15 * np.sin(turn), 1.675, 0.02 + 0.15 * np.cos(turn))
        root = body.joint(0.06 * np.sin(turn), 1.69, 0.02 + 0.06 * np.cos(turn))
        shade = plain((round(brim[0] * 0.7), round(brim[1] * 0.7), round(brim[2] * 0.7)))
        body.tube(root, front, [(0, 0.070, 0.016), (1, 0.05, 0.012)], shade, turn=turn, caps=(0.2, 0.2))


def _draw_headscarf(body: Body) -> None:
    cloth = plain(CLOTH[body.person.hat_colour], folds=0.15, offset=body.folds)
    _tube(body, 0.022, cloth, keep=lambda surface: (np.abs(surface.angle) > 0.85) | (surface.along > 0.88))
    body.tube(body.joint(0, 1.47, 0.0), body.joint(0, 1.57, 0.01), [(0, 0.12, 0.105), (1, 0.07, 0.078)], cloth)
