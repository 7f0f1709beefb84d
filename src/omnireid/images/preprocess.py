"""From RGB uint8 to what the network takes: resized, scaled, normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from omnireid.errors import ImageError, ShapeError
from omnireid.images.decode import ImageSource, RgbArray, rgb_pixels
from omnireid.images.doubling import double
from omnireid.types import FloatArray

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input. It is kept with the weights, so that nobody has to remember it.

    Attributes:
        height: Input height in pixels.
        width: Input width in pixels.
        mean: Red, green and blue mean in [0, 1], subtracted from the pixels.
        std: Red, green and blue standard deviation in (0, 1], by which the pixels are divided.
        interpolation: Only Pillow's bilinear filter so far, which averages over the area that is shrunk.

    Raises:
        ShapeError: a size is below 1, or mean and std cannot belong to pixels in [0, 1].
    """

    height: int = 256
    width: int = 128
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Literal["bilinear"] = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if self.height < 1 or self.width < 1:
            raise ShapeError(f"An input of {self.height} × {self.width} pixels (height × width) does not exist.")
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std) <= 0:
            raise ShapeError(f"mean and std are three finite numbers, std above 0; got {self.mean} and {self.std}.")
        if min(self.mean) < 0 or max(self.mean) > 1 or max(self.std) > 1:
            raise ShapeError(
                f"mean and std of pixels in [0, 1] lie in [0, 1] themselves; got mean {self.mean} and std {self.std}. "
                "Divide values for pixels in 0–255 by 255."
            )
        if self.interpolation != "bilinear":
            raise ShapeError(f"Only bilinear interpolation is known, not {self.interpolation!r}.")

    def resize(self, source: ImageSource, *, name: str | None = None) -> RgbArray:
        """Decode `source` and resize it to (height, width, 3) uint8.

        Raises:
            ImageError: `source` cannot be decoded.
        """
        out = np.empty((1, self.height, self.width, 3), dtype=np.uint8)
        for error in self.resize_into(out, [source], names=[name]).values():
            raise error
        crop: RgbArray = out[0]
        return crop

    def resize_into(
        self, out: RgbArray, sources: Sequence[ImageSource], *, names: Sequence[str | None]
    ) -> dict[int, ImageError]:
        """Decode each source and resize it into its row of `out`.

        Crops of half the size are doubled together (`doubling.double`); all others go through Pillow's `resize`.
        Both give the same bytes.

        Args:
            out: (N, height, width, 3) uint8, C-contiguous.
            sources: N images.
            names: Name of each image in an error; None is its path.

        Returns:
            The errors of the images that cannot be decoded, by ascending position. The content of their rows is
            undefined.
        """
        errors: dict[int, ImageError] = {}
        halves: dict[int, RgbArray] = {}
        for position, (source, name) in enumerate(zip(sources, names, strict=True)):
            try:
                image = rgb_pixels(source, name=name)
            except ImageError as error:
                errors[position] = error
                continue
            height, width, _ = image.shape
            if (height, width) == (self.height, self.width):
                out[position] = image
            elif (2 * height, 2 * width) == (self.height, self.width):
                halves[position] = image
            else:
                resized = Image.fromarray(image).resize((self.width, self.height), Image.Resampling.BILINEAR)
                out[position] = np.asarray(resized)
        if halves:
            _double_into(out, halves)
        return errors

    def normalise(self, pixels: RgbArray) -> FloatArray:
        """Turn (N, height, width, 3) uint8 into the (N, 3, height, width) float32 the network takes."""
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (self.height, self.width, 3):
            raise ShapeError(
                f"Expected (N, {self.height}, {self.width}, 3) uint8, got {pixels.shape} {pixels.dtype}. "
                "Use resize first."
            )
        out = np.empty((len(pixels), 3, self.height, self.width), dtype=np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            np.multiply(pixels[..., channel], np.float32(1 / (255 * std)), out=out[:, channel], dtype=np.float32)
            out[:, channel] -= np.float32(mean / std)
        return out

    def apply(self, source: ImageSource) -> FloatArray:
        """Turn one image into (3, height, width) float32.

        >>> Preprocessing(2, 1).apply(np.zeros((8, 4, 3), np.uint8)).shape
        (3, 2, 1)
        """
        crop: FloatArray = self.normalise(self.resize(source)[np.newaxis])[0]
        return crop


def _double_into(out: RgbArray, halves: dict[int, RgbArray]) -> None:
    """Double each image into its own row of `out`, in place if the rows are adjacent."""
    positions = list(halves)
    first, count = positions[0], len(positions)
    together = positions[-1] - first + 1 == count
    rows = out[first : first + count] if together else np.empty((count, *out.shape[1:]), dtype=np.uint8)
    double(list(halves.values()), rows)
    if not together:
        out[positions] = rows
