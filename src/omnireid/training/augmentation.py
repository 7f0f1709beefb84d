"""What may happen to a crop before it is trained on, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from omnireid.errors import RecipeError

_PROBABILITIES = ("flip", "crop", "patch", "jitter", "blur", "erasing")
_STRENGTHS = ("brightness", "contrast", "saturation", "tint")


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a crop, in this order: flip, crop, patch, jitter, blur, erasing.

    Attributes:
        flip: Probability of a horizontal flip.
        crop: Probability of a random crop: the image is enlarged and cut back to its size at a random place.
        crop_scale: How much the random crop enlarges, 1 to 4.
        erasing: Probability of random erasing, which fills a box with the mean colour.
        erasing_area: Smallest and largest area of the erased box, as fractions of the image.
        erasing_aspect: Smallest and largest height / width of the erased box, in pixels.
        patch: Probability of a random patch, a piece of another crop pasted over this one.
        jitter: Probability of the colour jitter, whose strengths are `brightness`, `contrast`, `saturation` and `tint`.
        brightness: Jitter strength s: pixels are multiplied by a factor in [1 - s, 1 + s].
        contrast: Jitter strength s: distances from the image's mean grey are multiplied by a factor in [1 - s, 1 + s].
        saturation: Jitter strength s: distances from each pixel's grey are multiplied by a factor in [1 - s, 1 + s].
        tint: Jitter strength s: R, G and B are each multiplied by a factor of their own in [1 - s, 1 + s], as by a
            camera with another white balance.
        blur: Probability of a Gaussian blur, as of a camera out of focus or a person far away.
        blur_sigma: Largest standard deviation of the blur, as a fraction of the image's height, 0 to 0.1. It is drawn
            uniformly from 0 on.

    Raises:
        RecipeError: A value is out of its range.

    Source: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020; the random crop as in the OSNet paper; the
    random patch in `omnireid.training.patches`.
    """

    flip: float = 0.5
    crop: float = 0.0
    crop_scale: float = 1.125
    erasing: float = 0.0
    erasing_area: tuple[float, float] = (0.02, 0.4)
    erasing_aspect: tuple[float, float] = (0.3, 3.3)
    patch: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    tint: float = 0.0
    blur: float = 0.0
    blur_sigma: float = 0.01

    def __post_init__(self) -> None:
        for name in (*_PROBABILITIES, *_STRENGTHS):
            _check_range(name, getattr(self, name), 0, 1)
        _check_range("crop_scale", self.crop_scale, 1, 4)
        _check_range("blur_sigma", self.blur_sigma, 0, 0.1)
        for name, low, high in (("erasing_area", 0, 1), ("erasing_aspect", 0.01, 100)):
            smallest, largest = getattr(self, name)
            object.__setattr__(self, name, (smallest, largest))  # JSON gives lists
            _check_range(name, smallest, low, high)
            _check_range(name, largest, smallest, high)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN is out of every range
        raise RecipeError(f"--{name.replace('_', '-')} must lie between {low:g} and {high:g}; got {value}.")
