"""Pictures that strangers send: their type, size and cost are checked before and while they are decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from omnireid.errors import ImageError, MediaTypeError
from omnireid.gallery.queries import LEAST_HEIGHT, LEAST_WIDTH
from omnireid.images.decode import RgbArray, rgb_pixels

MOST_PIXELS = 16_000_000
"""Pixels of an uploaded picture: 48 MB when it is decoded."""

DECODING_SECONDS = 10.0
"""Longest time for decoding the pictures of one request."""

_MOST_SCANS = 64
"""Scans of a JPEG file. A progressive one has about ten; each costs a pass over all pixels, however few its bytes."""

_START_OF_SCAN = b"\xff\xda"
_SIGNATURES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
"""Media type to suffix of the pictures that are taken."""


@dataclass(frozen=True, eq=False)
class Upload:
    """One uploaded picture.

    Attributes:
        content: Its bytes.
        media_type: What its first bytes say it is.
    """

    content: bytes = field(repr=False)
    media_type: str

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes."""
        return hashlib.sha256(self.content).hexdigest()


def media_type_of(content: bytes) -> str | None:
    """The type that the first bytes of a picture say; None for any that is not taken."""
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    return "image/webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def check_upload(content: bytes, declared: str | None) -> Upload:
    """Check what a picture is, without decoding it.

    Args:
        content: Its bytes.
        declared: The type that the sender states.

    Raises:
        MediaTypeError: it is no JPEG, PNG or WebP file, or is another one than stated.
        ImageError: it would take too long to decode.
    """
    found = media_type_of(content)
    if found is None:
        raise MediaTypeError("The crop is no JPEG, PNG or WebP file. Convert it to one of these.")
    if declared != found:
        raise MediaTypeError(f"The crop is {found}, but was sent as {declared or 'no type'}. Send it as {found}.")
    if found == "image/jpeg" and content.count(_START_OF_SCAN) > _MOST_SCANS:
        raise ImageError(f"The crop has more than {_MOST_SCANS} scans, which no camera makes. Save it again.")
    return Upload(content, found)


def decode_upload(upload: Upload) -> RgbArray:
    """Decode a picture of a person.

    Raises:
        ImageTooLargeError: it has more than `MOST_PIXELS`; it was not decoded.
        ImageError: it is damaged or truncated, or too small to show a person.
    """
    pixels = rgb_pixels(upload.content, name="The crop", max_pixels=MOST_PIXELS)
    height, width = pixels.shape[:2]
    if height < LEAST_HEIGHT or width < LEAST_WIDTH:
        raise ImageError(
            f"The crop is {width} × {height} pixels: too small to show a person (at least {LEAST_WIDTH} × "
            f"{LEAST_HEIGHT}). Send a crop of a whole person."
        )
    return pixels
