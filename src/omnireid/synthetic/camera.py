"""Cameras: where they look from, and what they do to colours and sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from omnireid.synthetic.backdrop import draw_backdrop
from omnireid.synthetic.seeds import Drawn, seeded_generator
from omnireid.synthetic.solids import Light
from omnireid.types import ByteArray

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera, fixed in its place.

    Attributes:
        yaw: Direction most people walk in, in radians, as `Pose.yaw`.
        pitch: Angle by which the camera looks down, in radians.
        gains: Factors for red, green and blue, which make the colour cast.
        gamma: Exponent of the brightness; above 1 is darker.
        saturation: 0 for grey, 1 for unchanged colours; more is possible.
        resolution: Native rows as a fraction of the crop's rows.
        blur: Standard deviation in native pixels.
        noise: Standard deviation in grey levels.
        quality: JPEG quality.
        light: Direction and ambient share of the light.
        shadow: How far shadows fall to the right, relative to their height.
        backdrop: (H, W, 3) place behind the people, `PANORAMA` crops wide.
    """

    yaw: float
    pitch: float
    gains: tuple[float, float, float]
    gamma: float
    saturation: float
    resolution: float
    blur: float
    noise: float
    quality: int
    light: Light
    shadow: float
    backdrop: ByteArray

    @cached_property
    def tones(self) -> list[int]:
        """The output level for each of the 256 levels of red, green and blue, from gain and gamma."""
        tone = 255 * np.linspace(0, 1, 256) ** self.gamma
        return [round(level) for gain in self.gains for level in np.minimum(gain * tone, 255).tolist()]


def draw_camera(camera_id: int, *, seed: int, difficulty: float, height: int) -> Camera:
    """Draw the properties of one camera. They do not depend on the number of cameras.

    Args:
        camera_id: Camera id, from 1.
        seed: Seed of the data set.
        difficulty: From 0 (all cameras nearly alike and sharp) to 1 (each with its own cast, view and blur).
        height: Height of the backdrop, in pixels of the drawing.
    """
    generator = seeded_generator(seed, Drawn.CAMERA, camera_id)
    cast, (tone, colour, sharp, soft) = generator.standard_normal(3), generator.random(4).tolist()
    look, tilt, side = generator.random(3).tolist()
    sign = 1.0 if side < 0.5 else -1.0
    lift = 0.25 + 0.75 * difficulty
    gains = 1 + 0.17 * lift * np.clip(cast, -1.6, 1.6)
    first_place = int(seeded_generator(seed, Drawn.CAMERA, 0).integers(6))
    return Camera(
        yaw=np.pi * (0.25 + 0.75 * difficulty) * (2 * look - 1),
        pitch=0.06 + (0.08 + 0.22 * difficulty) * tilt,
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        gamma=math.exp(0.75 * lift * (tone - 0.5)),
        saturation=1.05 - 0.55 * difficulty * colour,
        resolution=1 - 0.55 * difficulty * sharp,
        blur=0.25 + 0.75 * difficulty * soft,
        noise=1.0 + 9.0 * difficulty * sharp * soft,
        quality=round(93 - 28 * difficulty * soft),
        light=Light((sign * (0.25 + 0.5 * side), -0.55, 0.75), 0.52 - 0.16 * tone),
        shadow=-sign * (0.4 + 0.8 * side),
        backdrop=draw_backdrop(first_place + camera_id, generator, height),
    )


def take_picture(scene: ByteArray, camera: Camera, size: tuple[int, int], generator: np.random.Generator) -> bytes:
    """Turn a scene into the JPEG file that a camera would deliver, and return its bytes.

    Args:
        scene: (H, W, 3) RGB, larger than `size`.
        camera: The camera.
        size: Width and height of the crop.
        generator: Source of the noise.
    """
    width, height = size
    native = (max(round(width * camera.resolution), 8), max(round(height * camera.resolution), 16))
    picture = Image.fromarray(scene).resize(native, Image.Resampling.BOX)
    picture = picture.filter(ImageFilter.GaussianBlur(camera.blur)).resize(size, Image.Resampling.BICUBIC)
    values = np.asarray(picture.point(camera.tones), dtype=np.float32)
    grey = (values @ _LUMA)[..., None]
    noise = generator.standard_normal((height, width), dtype=np.float32)[..., None]
    spoiled = grey + camera.saturation * (values - grey) + camera.noise * noise
    file = BytesIO()
    Image.fromarray(np.clip(spoiled, 0, 255).astype(np.uint8)).save(file, format="JPEG", quality=camera.quality)
    return file.getvalue()
