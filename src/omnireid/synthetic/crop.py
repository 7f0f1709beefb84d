"""One crop: a pedestrian in front of a camera, cut out as a detector would do it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from omnireid.synthetic.camera import Camera, take_picture
from omnireid.synthetic.figure import draw_figure
from omnireid.synthetic.pedestrian import Pedestrian, draw_pedestrian
from omnireid.synthetic.pose import Viewpoint, draw_pose
from omnireid.synthetic.solids import Canvas
from omnireid.types import BoolArray, ByteArray


def drawing_height(height: int) -> int:
    """The height at which a crop of `height` rows is drawn, before the camera scales it down.

    It is twice the height. Three times looks the same after the camera's blur and takes twice as long.
    """
    return 2 * height


@dataclass(frozen=True)
class _Framing:
    """How a detector framed the figure: its height and foot position as fractions of the crop's height and width."""

    size: float
    foot_x: float
    foot_y: float


def draw_crop(
    person: Pedestrian, camera: Camera, generator: np.random.Generator, *, difficulty: float, height: int
) -> bytes:
    """Draw one crop of a person seen by a camera, and return it as the bytes of a JPEG file.

    Args:
        person: The person in the middle.
        camera: The camera that sees them.
        generator: Source of randomness for pose, framing, place, occlusion and noise.
        difficulty: How much these vary, from 0 to 1.
        height: Height in pixels; a crop is half as wide.
    """
    jitter = np.clip(generator.standard_normal(4), -2, 2)
    spread = 0.04 + 0.10 * difficulty
    framing = _Framing(
        size=0.89 * (1 + 0.6 * spread * jitter[0]),
        foot_x=0.5 + spread * jitter[1] * 0.7,
        foot_y=0.945 + 0.4 * spread * jitter[2],
    )
    yaw = camera.yaw + (0.35 + 0.7 * difficulty) * jitter[3]
    scene = _draw_scene(person, camera, generator, framing, yaw, occlusion=0.5 * difficulty, height=height)
    return take_picture(scene, camera, (height // 2, height), generator)


def draw_distractor(camera: Camera, generator: np.random.Generator, *, height: int) -> bytes:
    """Draw a detector's mistake: a stranger cut off by the box, or nobody at all."""
    sideways, zoom, drop, turn, empty = generator.random(5)
    size = 0.0 if empty < 0.35 else 1.1 + 0.8 * zoom
    foot_x = 0.5 + (0.32 + 0.3 * sideways) * (1 if turn < 0.5 else -1)
    framing = _Framing(size, foot_x, 1.0 + 0.5 * drop)
    stranger = draw_pedestrian(generator, "mixed")
    scene = _draw_scene(stranger, camera, generator, framing, 2 * np.pi * turn, occlusion=0.3, height=height)
    return take_picture(scene, camera, (height // 2, height), generator)


def _draw_scene(
    person: Pedestrian,
    camera: Camera,
    generator: np.random.Generator,
    framing: _Framing,
    yaw: float,
    *,
    occlusion: float,
    height: int,
) -> ByteArray:
    """(H, W, 3) scene as it is before the camera degrades it. `occlusion` is the chance of something in the way."""
    rows = drawing_height(height)
    columns = rows // 2
    pose = draw_pose(generator, yaw=yaw)
    where, folds, roll, hidden, kind, aside = generator.random(6)
    canvas = Canvas(rows, columns, camera.light)
    scale = framing.size * rows / 1.84 / person.stature**0.5
    view = Viewpoint(scale, framing.foot_x * columns, framing.foot_y * rows, camera.pitch, 0.06 * (roll - 0.5))
    if framing.size:
        draw_figure(canvas, person, pose, view, folds=10 * folds)
    if hidden < occlusion and kind < 0.4:
        _draw_passer_by(canvas, view, generator, aside)
    left = int(where * (camera.backdrop.shape[1] - columns))
    scene = _compose(canvas, camera.backdrop[:, left : left + columns], view, camera.shadow)
    if hidden < occlusion and kind >= 0.4:
        draw = _draw_bush if kind < 0.6 else _draw_pole if kind < 0.8 else _draw_railing
        scene = draw(scene, generator, aside)
    return scene


def _compose(canvas: Canvas, backdrop: ByteArray, view: Viewpoint, shear: float) -> ByteArray:
    """Put the figures and their shadow in front of the backdrop."""
    solid = np.isfinite(canvas.depth)
    dimmed = _shadow(solid, view, shear).point([255 - 140 * level // 255 for level in range(256)])
    scene = ImageChops.multiply(Image.fromarray(backdrop), Image.merge("RGB", (dimmed, dimmed, dimmed)))
    figures = Image.fromarray(canvas.colour)
    scene.paste(figures, mask=Image.fromarray(solid))
    return np.asarray(scene)


def _shadow(solid: BoolArray, view: Viewpoint, shear: float) -> Image.Image:
    """The shadow's darkness, 0 to 255: the silhouette laid flat on the ground and blurred."""
    height, width = solid.shape
    small = Image.fromarray(solid[::4, ::4])  # a quarter of the size is enough, since the shadow is blurred
    foot, flat = view.foot_y / 4, 0.26
    turned = (1.0, shear / flat, -foot * shear / flat, 0.0, 1 / flat, foot - foot / flat)
    laid = small.convert("L").transform(small.size, Image.Transform.AFFINE, turned, Image.Resampling.BILINEAR)
    soft = laid.filter(ImageFilter.GaussianBlur(height / 300))
    return soft.resize((width, height), Image.Resampling.BILINEAR)


def _draw_passer_by(canvas: Canvas, view: Viewpoint, generator: np.random.Generator, aside: float) -> None:
    """Draw somebody else who walks between camera and person."""
    stranger = draw_pedestrian(generator, "mixed")
    pose = draw_pose(generator, yaw=2 * np.pi * generator.random())
    offset = (0.30 + 0.2 * aside) * (1 if generator.random() < 0.5 else -1) * canvas.depth.shape[1]
    nearby = Viewpoint(
        1.12 * view.scale,
        view.foot_x + offset,
        view.foot_y + 0.06 * canvas.depth.shape[0],
        view.pitch,
        view.roll,
        nearer=2 * view.scale,
    )
    draw_figure(canvas, stranger, pose, nearby, folds=10 * aside)


def _draw_bush(scene: ByteArray, generator: np.random.Generator, aside: float) -> ByteArray:
    """Draw leaves in front of the legs."""
    height, width = scene.shape[:2]
    picture = Image.fromarray(scene)
    draw = ImageDraw.Draw(picture)
    top = height * (0.62 + 0.2 * aside)
    for x, y, size, shade in generator.random((260, 4)):
        rise = y**0.7
        centre = (x * 1.1 - 0.05) * width, top + rise * (height - top)
        reach = (0.012 + 0.016 * size) * height
        green = (0.45 + 0.55 * shade) * (0.7 + 0.3 * (1 - rise))
        box = (centre[0] - reach, centre[1] - 0.6 * reach, centre[0] + reach, centre[1] + 0.6 * reach)
        draw.ellipse(box, fill=(round(88 * green), round(136 * green), round(64 * green)))
    return np.asarray(picture)


def _draw_pole(scene: ByteArray, generator: np.random.Generator, aside: float) -> ByteArray:
    """Draw a lamp post from top to bottom."""
    width = scene.shape[1]
    radius = (0.045 + 0.05 * generator.random()) * width
    middle = (0.22 + 0.56 * aside) * width
    place = (np.arange(width) - middle) / radius
    on = np.abs(place) < 1
    shade = 0.45 + 0.65 * np.sqrt(np.clip(1 - (place[on] + 0.25) ** 2, 0, 1))
    covered = scene.copy()
    covered[:, on] = np.clip(np.outer(shade, (96, 104, 102)), 0, 255).astype(np.uint8)
    return covered


def _draw_railing(scene: ByteArray, generator: np.random.Generator, aside: float) -> ByteArray:
    """Draw two bars and their posts in front of the legs."""
    height, width = scene.shape[:2]
    picture = Image.fromarray(scene)
    draw = ImageDraw.Draw(picture)
    bar, first = 0.016 * height, generator.random() * 0.5 * width
    tone = (188, 186, 180) if generator.random() < 0.5 else (62, 66, 74)
    for top in (0.60 + 0.08 * aside, 0.78 + 0.06 * aside):
        draw.rectangle((0, top * height, width, top * height + bar), fill=tone)
    for post in (first, first + 0.5 * width):
        draw.rectangle((post, (0.60 + 0.08 * aside) * height, post + 1.3 * bar, height), fill=tone)
    return np.asarray(picture)
