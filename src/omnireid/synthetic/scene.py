"""One frame of drawn footage: people in front of a place, painted from the farthest to the nearest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from omnireid.synthetic.backdrop import draw_backdrop
from omnireid.synthetic.camera import Camera, draw_camera
from omnireid.synthetic.figure import draw_figure
from omnireid.synthetic.floor_plan import View
from omnireid.synthetic.palette import CLOTH
from omnireid.synthetic.pedestrian import Pedestrian
from omnireid.synthetic.pose import Viewpoint
from omnireid.synthetic.seeds import Drawn, seeded_generator
from omnireid.synthetic.solids import Canvas
from omnireid.synthetic.walks import Walker
from omnireid.types import AnyArray, ByteArray, FloatArray

_FINER = 2  # figures are drawn at twice the size, as crops are
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_NOBODY = -1


@dataclass(frozen=True)
class SeenPerson:
    """One person in one frame.

    Attributes:
        person: Index of the person, from 0.
        box: Left, top, right, bottom of the whole figure in pixels, also where it is hidden or outside the frame.
        visibility: Fraction of the figure's pixels that are in the frame and not hidden, above 0.
    """

    person: int
    box: tuple[float, float, float, float]
    visibility: float


@dataclass(frozen=True, eq=False)
class _Sprite:
    """Something to paste: colours, multiplied by their cover, and the cover of each pixel in [0, 1]."""

    left: int
    top: int
    colour: FloatArray
    cover: FloatArray


@dataclass(frozen=True, eq=False)
class Stage:
    """What stays the same in all frames of a camera.

    Attributes:
        view: The camera's place and projection.
        camera: Its colours and its light.
        background: (H, W, 3) the empty place as the camera shows it.
        column: The advertising column that hides who walks behind it.
        column_away: Metres from the camera to the column.
    """

    view: View
    camera: Camera
    background: ByteArray
    column: _Sprite
    column_away: float


def set_stage(view: View, *, seed: int, difficulty: float) -> Stage:
    """Draw the empty place that a camera sees.

    Args:
        view: The camera's place and projection.
        seed: Seed of the footage.
        difficulty: From 0 (all cameras show nearly the same colours) to 1 (each has a cast of its own).
    """
    camera = draw_camera(view.camera_id, seed=seed, difficulty=difficulty, height=32)
    generator = seeded_generator(seed, Drawn.VIEW, view.camera_id, 1)
    place = int(seeded_generator(seed, Drawn.VIEW, 0).integers(6)) + view.camera_id
    wide = draw_backdrop(place, generator, view.height, floor_end=view.floor_end)
    left = (wide.shape[1] - view.width) // 2
    soft = Image.fromarray(wide[:, left : left + view.width]).filter(ImageFilter.GaussianBlur(camera.blur))
    background = _as_bytes(_grade(np.asarray(soft, dtype=np.float32), camera))
    away = 7.4 + 1.2 * generator.random()
    right = (1.9 + 0.8 * generator.random()) * generator.choice((-1, 1))
    colour = CLOTH[str(generator.choice(("teal", "burgundy", "olive", "navy")))]
    column = _draw_column(view, right, away, np.array(colour, dtype=np.float32), camera)
    stage = Stage(view, camera, background, column, away)
    shaded = background.astype(np.float32)
    _shade_ground(shaded, stage, right, away, 0.55)
    return replace(stage, background=_as_bytes(shaded))


def draw_frame(
    stage: Stage, walkers: Sequence[Walker], people: Sequence[Pedestrian]
) -> tuple[ByteArray, list[SeenPerson]]:
    """Draw one frame.

    Args:
        stage: The place.
        walkers: Who is there, the farthest first.
        people: What everybody looks like.

    Returns:
        (H, W, 3) RGB, and everybody of whom a pixel is seen, in the order of `walkers`.
    """
    frame = stage.background.astype(np.float32)
    for walker in walkers:
        _shade_ground(frame, stage, walker.right, walker.away, 0.36)
    owner = np.full(frame.shape[:2], _NOBODY, dtype=np.int32)
    drawn: list[tuple[Walker, _Sprite]] = []
    waiting: list[tuple[float, int, _Sprite]] = [(stage.column_away, _NOBODY, stage.column)]
    for walker in walkers:
        sprite = _draw_person(stage, walker, people[walker.person])
        if sprite is not None:
            drawn.append((walker, sprite))
            waiting.append((walker.away, walker.person, sprite))
    for _, person, sprite in sorted(waiting, key=lambda entry: -entry[0]):
        _paste(frame, owner, sprite, person)
    seen = [_as_seen(walker.person, sprite, owner) for walker, sprite in drawn]
    return _as_bytes(frame), [person for person in seen if person.visibility > 0]


def _draw_person(stage: Stage, walker: Walker, person: Pedestrian) -> _Sprite | None:
    """The figure of a person, or None where it is nowhere near the frame."""
    view = stage.view
    column, row, scale = view.project(walker.right, walker.away)
    half, above, below = (math.ceil(metres * scale) for metres in (0.95, 2.2, 0.42))
    left, top = math.floor(column) - half, math.floor(row) - above
    width, height = 2 * half, above + below
    if left >= view.width or left + width <= 0 or top >= view.height or top + height <= 0:
        return None
    canvas = Canvas(height * _FINER, width * _FINER, stage.camera.light)
    foot = ((column - left) * _FINER, (row - top) * _FINER)
    seen_from = Viewpoint(scale * _FINER, *foot, view.elevation(walker.away), 0.0)
    draw_figure(canvas, person, walker.pose, seen_from, folds=float(walker.person))
    solid = np.isfinite(canvas.depth)
    if not solid.any():
        return None
    cover = _add_blocks(solid.astype(np.uint8)) / np.float32(_FINER**2)
    sums = _add_blocks(canvas.colour * solid[..., None]) / np.float32(_FINER**2)
    straight = sums / np.maximum(cover, 1e-6)[..., None]
    return _Sprite(left, top, _grade(straight, stage.camera) * cover[..., None], cover)


def _add_blocks(values: ByteArray) -> FloatArray:
    """(H / 2, W / 2, ...) sums over blocks of `_FINER` x `_FINER` pixels; slices are ten times as fast as `sum`."""
    parts = [values[down::_FINER, across::_FINER] for down in range(_FINER) for across in range(_FINER)]
    total = parts[0].astype(np.float32)
    for part in parts[1:]:
        total += part
    return total


def _draw_column(view: View, right: float, away: float, colour: FloatArray, camera: Camera) -> _Sprite:
    """An advertising column: a cylinder with posters and a cap."""
    column, row, scale = view.project(right, away)
    half, tall = max(round(0.5 * scale), 2), round(2.7 * scale)
    across = (np.arange(2 * half) + 0.5) / half - 1
    up = (tall - np.arange(tall) - 0.5)[:, None] / scale
    light = (0.55 + 0.5 * np.sqrt(1 - across**2) * (1 - 0.35 * across))[None, :, None]
    posters = (up > 0.5) & (up < 2.2) & (np.abs(across[None] - 0.1) < 0.62)
    paper = np.where(((up * 1.7) % 1 < 0.55)[..., None], (226.0, 220, 202), (204.0, 120, 70))
    shown = np.where(posters[..., None], paper, colour[None, None])
    body = np.where((up > 2.35)[..., None], 0.7 * colour[None, None], shown) * light
    cover = np.broadcast_to(np.where(up > 2.35, 1.0, (np.abs(across) < 0.92)[None]), (tall, 2 * half))
    graded = _grade(np.clip(body, 0, 255).astype(np.float32), camera)
    return _Sprite(round(column) - half, round(row) - tall, graded * cover[..., None], cover.astype(np.float32))


def _shade_ground(frame: FloatArray, stage: Stage, right: float, away: float, size: float) -> None:
    """Darken the ground around a foot point by a soft shadow of `size` metres."""
    column, row, scale = stage.view.project(right, away)
    column += 0.25 * size * scale * stage.camera.shadow
    long, flat = size * scale, size * scale * math.sin(stage.view.elevation(away))
    top, bottom = max(math.floor(row - 2 * flat), 0), min(math.ceil(row + 2 * flat), frame.shape[0])
    left, right_end = max(math.floor(column - 2 * long), 0), min(math.ceil(column + 2 * long), frame.shape[1])
    if top >= bottom or left >= right_end:
        return
    down = ((np.arange(top, bottom) - row) / flat)[:, None]
    along = ((np.arange(left, right_end) - column) / long)[None]
    dark = 1 - 0.5 * np.exp(-1.6 * (down**2 + along**2))
    frame[top:bottom, left:right_end] *= dark[..., None].astype(np.float32)


def _paste(frame: FloatArray, owner: AnyArray, sprite: _Sprite, person: int) -> None:
    """Paste a sprite into the frame, and note whose pixels it covers."""
    height, width = sprite.cover.shape
    top, left = max(sprite.top, 0), max(sprite.left, 0)
    bottom, right = min(sprite.top + height, frame.shape[0]), min(sprite.left + width, frame.shape[1])
    if top >= bottom or left >= right:
        return
    inside = (slice(top - sprite.top, bottom - sprite.top), slice(left - sprite.left, right - sprite.left))
    cover, place = sprite.cover[inside], (slice(top, bottom), slice(left, right))
    frame[place] = frame[place] * (1 - cover[..., None]) + sprite.colour[inside]
    owner[place][cover > 0.5] = person


def _as_seen(person: int, sprite: _Sprite, owner: AnyArray) -> SeenPerson:
    """Box and visibility of a pasted figure."""
    solid = sprite.cover > 0.5
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if not len(rows):
        return SeenPerson(person, (0, 0, 0, 0), 0.0)
    box = (
        sprite.left + float(columns[0]),
        sprite.top + float(rows[0]),
        sprite.left + float(columns[-1]) + 1,
        sprite.top + float(rows[-1]) + 1,
    )
    return SeenPerson(person, box, float(np.count_nonzero(owner == person) / np.count_nonzero(solid)))


def _grade(values: FloatArray, camera: Camera) -> FloatArray:
    """Colours as the camera shows them: its cast, brightness and saturation."""
    levels = np.clip(values, 0, 255).astype(np.uint8)
    tones = np.array(camera.tones, dtype=np.float32).reshape(3, 256)
    toned = np.stack([tones[channel][levels[..., channel]] for channel in range(3)], axis=-1)
    grey = (toned @ _LUMA)[..., None]
    graded: FloatArray = grey + np.float32(camera.saturation) * (toned - grey)
    return graded


def _as_bytes(values: FloatArray) -> ByteArray:
    """The values rounded to whole levels from 0 to 255."""
    levels: ByteArray = np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)
    return levels
