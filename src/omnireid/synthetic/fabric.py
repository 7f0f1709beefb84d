"""Cloth: woven patterns, folds and printed logos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from omnireid.synthetic.palette import RGB
from omnireid.synthetic.solids import Paint, Surface
from omnireid.types import BoolArray, FloatArray

_LOGO_PIXELS = 96
_FOLD_PIXELS = 128


def plain(colour: RGB, *, folds: float = 0.0, offset: float = 0.0) -> Paint:
    """Paint of one colour. `folds` (0 to 1) sets how deep its creases are, `offset` (any number) where they lie."""
    base = np.array(colour, dtype=np.float32)
    if not folds:
        return lambda _surface: base

    def paint(surface: Surface) -> FloatArray:
        return base * crease(surface, folds, offset)[:, None]

    return paint


def crease(surface: Surface, strength: float, offset: float) -> FloatArray:
    """(N,) brightness, around 1, of cloth that hangs in folds."""
    table = _fold_table()
    column = (surface.angle * 7 + (64 + offset * 11)).astype(np.intp) % _FOLD_PIXELS
    row = (surface.along * 60 + surface.angle * 9 + (64 + offset * 37)).astype(np.intp) % _FOLD_PIXELS
    brightness: FloatArray = 1 + strength * table.take(row * _FOLD_PIXELS + column)
    return brightness


@cache
def _fold_table() -> FloatArray:
    """Smooth noise, roughly in [-1, 1], that wraps around at its edges."""
    noise = np.random.Generator(np.random.PCG64(2019)).random((_FOLD_PIXELS, _FOLD_PIXELS))
    picture = Image.fromarray(np.tile((noise * 255).astype(np.uint8), (3, 3)))
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(4)), dtype=np.float32)
    soft = soft[_FOLD_PIXELS : 2 * _FOLD_PIXELS, _FOLD_PIXELS : 2 * _FOLD_PIXELS]
    table: FloatArray = np.clip((soft - soft.mean()) / (2 * soft.std()), -1, 1)
    return table


def weave(pattern: str, x: FloatArray, y: FloatArray, along: FloatArray) -> FloatArray:
    """(N,) share of the second colour, 0 to 1, at `x`, `y` metres and the fraction `along` of the cloth's length."""
    if pattern == "hoops":
        return (_modulo(y, 0.12) < 0.06).astype(np.float32)
    if pattern == "pinstripes":
        return (_modulo(x, 0.075) < 0.032).astype(np.float32)
    if pattern == "checks":
        columns, rows = _modulo(x, 0.12) < 0.06, _modulo(y, 0.12) < 0.06
        return 0.5 * (columns.astype(np.float32) + rows.astype(np.float32))
    if pattern == "dots":
        shifted = x + np.floor(y / 0.065) * 0.0425
        dots: BoolArray = np.hypot(_modulo(shifted, 0.085) - 0.0425, _modulo(y, 0.065) - 0.0325) < 0.0215
        return dots.astype(np.float32)
    if pattern == "halves":
        return (along < 0.56).astype(np.float32)
    return np.zeros(len(x), dtype=np.float32)


def _modulo(values: FloatArray, period: float) -> FloatArray:
    """`values` modulo `period`. NumPy's own operator takes 20 times as long on float32."""
    rest: FloatArray = values - period * np.floor(values * (1 / period))
    return rest


def _polygon(draw: ImageDraw.ImageDraw, *points: tuple[float, float]) -> None:
    draw.polygon([(x * _LOGO_PIXELS, y * _LOGO_PIXELS) for x, y in points], fill=255)


def _box(draw: ImageDraw.ImageDraw, left: float, top: float, right: float, bottom: float) -> None:
    draw.rectangle(tuple(side * (_LOGO_PIXELS - 1) for side in (left, top, right, bottom)), fill=255)


def _disc(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((0, 0, _LOGO_PIXELS - 1, _LOGO_PIXELS - 1), fill=255)


def _ring(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((0, 0, _LOGO_PIXELS - 1, _LOGO_PIXELS - 1), outline=255, width=_LOGO_PIXELS // 4)


def _square(draw: ImageDraw.ImageDraw) -> None:
    _box(draw, 0.06, 0.06, 0.94, 0.94)


def _triangle(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, (0.5, 0.02), (1, 0.96), (0, 0.96))


def _star(draw: ImageDraw.ImageDraw) -> None:
    turns = np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2 == 0, 0.55, 0.23)
    corners = zip(0.5 + reach * np.sin(turns), 0.54 - reach * np.cos(turns), strict=True)
    _polygon(draw, *((float(x), float(y)) for x, y in corners))


def _cross(draw: ImageDraw.ImageDraw) -> None:
    _box(draw, 0.34, 0, 0.66, 1)
    _box(draw, 0, 0.34, 1, 0.66)


def _diamond(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, (0.5, 0), (0.92, 0.5), (0.5, 1), (0.08, 0.5))


def _heart(draw: ImageDraw.ImageDraw) -> None:
    side = _LOGO_PIXELS - 1
    draw.ellipse((0, side * 0.06, side * 0.54, side * 0.6), fill=255)
    draw.ellipse((side * 0.46, side * 0.06, side, side * 0.6), fill=255)
    _polygon(draw, (0.05, 0.46), (0.95, 0.46), (0.5, 1))


def _bolt(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, (0.62, 0), (0.12, 0.58), (0.46, 0.58), (0.32, 1), (0.88, 0.4), (0.53, 0.4))


def _bars(draw: ImageDraw.ImageDraw) -> None:
    for top in (0.02, 0.39, 0.76):
        _box(draw, 0.02, top, 0.98, top + 0.22)


LOGOS: Mapping[str, Callable[[ImageDraw.ImageDraw], None]] = MappingProxyType(
    {
        "disc": _disc,
        "ring": _ring,
        "square": _square,
        "triangle": _triangle,
        "star": _star,
        "cross": _cross,
        "diamond": _diamond,
        "heart": _heart,
        "bolt": _bolt,
        "bars": _bars,
    }
)
"""Shapes that can be printed on a garment."""


@cache
def logo_stencil(logo: str) -> BoolArray:
    """(96, 96) booleans, True where `logo` is printed; row 0 is its top."""
    picture = Image.new("L", (_LOGO_PIXELS, _LOGO_PIXELS))
    LOGOS[logo](ImageDraw.Draw(picture))
    return np.asarray(picture) > 127


def inside_logo(logo: str, x: FloatArray, y: FloatArray, size: float) -> BoolArray:
    """(N,) whether points lie on the print. `x` and `y` point right and up from the middle of a logo `size` wide."""
    stencil = logo_stencil(logo)
    column = np.floor((x / size + 0.5) * _LOGO_PIXELS).astype(np.intp)
    row = np.floor((0.5 - y / size) * _LOGO_PIXELS).astype(np.intp)
    within = (column >= 0) & (column < _LOGO_PIXELS) & (row >= 0) & (row < _LOGO_PIXELS)
    printed: BoolArray = within & stencil.take(row * _LOGO_PIXELS + column, mode="clip")
    return printed
