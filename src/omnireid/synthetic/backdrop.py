"""The place behind the people: a floor in perspective, and a wall or view at its far end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from omnireid.synthetic.palette import RGB
from omnireid.types import ByteArray, FloatArray

PANORAMA = 4
"""Width of a backdrop in crops. Crops of one camera show the same place, but different parts of it."""


@dataclass(frozen=True, eq=False)
class _Ground:
    """The pixels of the floor: their position in metres to the right and away from the camera, and noise."""

    x: FloatArray
    z: FloatArray
    noise: FloatArray


@dataclass(frozen=True, eq=False)
class _Wall:
    """The pixels above the floor: their position in metres to the right and up, and noise."""

    x: FloatArray
    y: FloatArray
    noise: FloatArray
    generator: np.random.Generator


def draw_backdrop(
    place: int, generator: np.random.Generator, height: int, *, floor_end: float | None = None
) -> ByteArray:
    """Draw one of the places behind the people.

    Args:
        place: Number of the place, from 0. Neighbouring numbers give different places.
        generator: Source of randomness for the details.
        height: Height in pixels.
        floor_end: Where the floor ends, as a fraction of the height from the top; drawn at random if left out.

    Returns:
        (height, height / 2 x `PANORAMA`, 3) RGB.
    """
    width = height // 2 * PANORAMA
    floor, wall = _PLACES[place % len(_PLACES)]
    drawn_end = 0.34 + 0.16 * generator.random()
    foot = int(height * (drawn_end if floor_end is None else floor_end))
    metre = height / 2.0
    columns = ((np.arange(width) - width / 2) / metre).astype(np.float32)[None]
    near = ((np.arange(height - foot)[:, None] + 0.25 * height) / (1.15 * height)).astype(np.float32)
    ground = _Ground(columns / near, 1.5 / near + 0 * columns, _noise(generator, height - foot, width, 0.018 * height))
    up = ((foot - np.arange(foot)[:, None]) / metre).astype(np.float32)
    behind = _Wall(columns + 0 * up, up + 0 * columns, _noise(generator, foot, width, 0.03 * height), generator)
    picture = np.concatenate([wall(behind), floor(ground) * (0.82 + 0.25 * near[..., None])])
    fade = np.exp(-np.abs(np.arange(height) - foot) / (0.05 * height))[:, None, None]
    picture = picture * (1 - 0.22 * fade)
    soft = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(height / 190))
    return np.asarray(soft)


def _noise(generator: np.random.Generator, height: int, width: int, cell: float) -> FloatArray:
    """(height, width) noise in [-1, 1], half of it smooth over `cell` pixels and half of it fine."""
    total = np.zeros((height, width), dtype=np.float32)
    for size, share in ((8 * cell, 0.45), (2 * cell, 0.3), (0.5 * cell, 0.25)):
        shape = (max(int(height / size), 1) + 1, max(int(width / size), 1) + 1)
        coarse = (generator.random(shape) * 255).astype(np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        total += share * (smooth / 127.5 - 1)
    return total


def _tint(colour: RGB, shade: npt.NDArray[np.floating]) -> FloatArray:
    """(..., 3) `colour` multiplied by `shade`."""
    tinted: FloatArray = np.asarray(colour, dtype=np.float32) * shade[..., None]
    return tinted


def _lines(values: FloatArray, period: float, width: float) -> FloatArray:
    """1 on lines of the given width, one in every `period`; 0 elsewhere."""
    return ((values % period) < width).astype(np.float32)


def _joints(first: FloatArray, second: FloatArray, size: float, gap: float) -> FloatArray:
    """1 on the joints between square slabs of `size`; 0 elsewhere."""
    return np.maximum(_lines(first, size, gap), _lines(second, size, gap))


def _slabs(ground: _Ground) -> FloatArray:
    which = np.floor(ground.x / 0.6) * 7 + np.floor(ground.z / 0.6) * 13
    shade = 1 + 0.08 * np.sin(which * 2.4) + 0.12 * ground.noise
    return _tint((168, 164, 156), shade - 0.25 * _joints(ground.x, ground.z, 0.6, 0.045))


def _asphalt(ground: _Ground) -> FloatArray:
    road = _tint((104, 106, 112), 1 + 0.22 * ground.noise)
    marked = (np.abs(ground.z - 3.1) < 0.12) & (ground.x % 2.4 < 1.5)
    road[marked] = 0.35 * road[marked] + np.float32(0.65 * 214)
    return road


def _lawn(ground: _Ground) -> FloatArray:
    grass = _tint((104, 136, 70), 1 + 0.4 * ground.noise)
    path = ground.z + 0.25 * np.sin(ground.x * 0.8) < 2.0
    grass[path] = _tint((188, 172, 142), 1 + 0.2 * ground.noise)[path]
    return grass


def _tiles(ground: _Ground) -> FloatArray:
    dark = (np.floor(ground.x / 0.5) + np.floor(ground.z / 0.5)) % 2
    gloss = 1 + 0.10 * np.sin(ground.x * 1.7) + 0.05 * ground.noise
    return _tint((206, 204, 198), gloss * (1 - 0.22 * dark) - 0.1 * _joints(ground.x, ground.z, 0.5, 0.02))


def _cobbles(ground: _Ground) -> FloatArray:
    shifted = ground.x + 0.11 * (np.floor(ground.z / 0.22) % 2)
    shade = 1 + 0.3 * ground.noise - 0.30 * _joints(shifted, ground.z, 0.22, 0.045)
    return _tint((148, 138, 128), shade)


def _planks(ground: _Ground) -> FloatArray:
    board = np.floor(ground.x / 0.34)
    shade = 1 + 0.10 * np.sin(board * 5.1) + 0.18 * ground.noise - 0.35 * _lines(ground.x, 0.34, 0.03)
    return _tint((170, 138, 104), shade)


def _shops(wall: _Wall) -> FloatArray:
    picture = _tint((176, 158, 138), 1 + 0.1 * wall.noise)
    window = (wall.x % 1.5 > 0.22) & (wall.y > 0.12)
    glass = _tint((92, 112, 128), 0.9 + 0.5 * wall.noise + 0.3 * np.sin(wall.x * 4 + wall.y * 6))
    picture[window] = glass[window]
    awning = (wall.y > 0.62) & (wall.y < 0.78)
    stripes = np.where((wall.x % 0.3 < 0.15)[..., None], np.array((188, 62, 56)), np.array((232, 224, 210)))
    picture[awning] = stripes[awning]
    return picture


def _facade(wall: _Wall) -> FloatArray:
    picture = _tint((198, 188, 172), 1 + 0.1 * wall.noise)
    pane = (wall.x % 0.8 > 0.25) & (wall.y % 0.55 > 0.22)
    picture[pane] = _tint((78, 92, 110), 1 + 0.3 * np.sin(np.floor(wall.x / 0.8) * 3.3) + 0.2 * wall.noise)[pane]
    kerb = wall.y < 0.05
    picture[kerb] = (186, 184, 180)
    return picture


def _trees(wall: _Wall) -> FloatArray:
    picture = _tint((178, 204, 226), 1.05 - 0.1 * wall.y)
    for _ in range(26):
        x, y = (wall.generator.random() - 0.5) * 2 * PANORAMA / 3, 0.25 + 0.5 * wall.generator.random()
        size, shade = 0.16 + 0.2 * wall.generator.random(), 0.7 + 0.4 * wall.generator.random()
        trunk = (np.abs(wall.x - x) < 0.03) & (wall.y < y)
        picture[trunk] = (88, 70, 54)
        crown = np.hypot(wall.x - x, wall.y - y) + 0.12 * wall.noise < size
        picture[crown] = _tint((66, 104, 52), shade + 0.45 * wall.noise)[crown]
    hedge = wall.y + 0.05 * wall.noise < 0.13
    picture[hedge] = _tint((54, 88, 46), 1 + 0.5 * wall.noise)[hedge]
    return picture


def _pillars(wall: _Wall) -> FloatArray:
    picture = _tint((216, 214, 206), 1 - 0.12 * wall.y + 0.04 * wall.noise)
    glass = (wall.x % 1.1 > 0.3) & (wall.y > 0.1)
    picture[glass] = _tint((158, 186, 200), 1 + 0.25 * wall.noise + 0.1 * np.sin(wall.x * 3))[glass]
    pillar = wall.x % 2.2 < 0.26
    round_ = np.sin(np.pi * np.clip((wall.x % 2.2) / 0.26, 0, 1))
    picture[pillar] = _tint((198, 190, 178), 0.65 + 0.4 * round_)[pillar]
    return picture


def _bricks(wall: _Wall) -> FloatArray:
    row = np.floor(wall.y / 0.075)
    along = wall.x + 0.11 * (row % 2)
    shade = 1 + 0.10 * np.sin(np.floor(along / 0.22) * 3.1 + row * 5.3) + 0.15 * wall.noise
    mortar = np.maximum(_lines(wall.y, 0.075, 0.014), _lines(along, 0.22, 0.016))
    picture = _tint((164, 92, 72), shade)
    return np.where(mortar[..., None] > 0, 0.25 * picture + _tint((147, 140, 130), np.ones_like(mortar)), picture)


def _waterfront(wall: _Wall) -> FloatArray:
    picture = _tint((186, 208, 224), 1.02 + 0.08 * wall.y)
    water = wall.y < 0.42
    picture[water] = _tint((94, 136, 158), 1 + 0.3 * wall.noise + 0.08 * np.sin(wall.y * 90))[water]
    rail = (np.abs(wall.y - 0.36) < 0.018) | (np.abs(wall.y - 0.2) < 0.01) | ((wall.x % 0.6 < 0.035) & (wall.y < 0.36))
    picture[rail] = (70, 74, 80)
    return picture


_PLACES: tuple[tuple[Callable[[_Ground], FloatArray], Callable[[_Wall], FloatArray]], ...] = (
    (_slabs, _shops),
    (_lawn, _trees),
    (_tiles, _pillars),
    (_asphalt, _facade),
    (_cobbles, _bricks),
    (_planks, _waterfront),
)
