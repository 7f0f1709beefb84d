"""Pictures of the embedded crops of tracks, so that a gallery of these people can show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from omnireid.embedding.boxes import cover_a_pixel, cut_crops
from omnireid.files import atomic_output, make_folder
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.video import Video

_JPEG_QUALITY = 92


def crop_path(folder: Path, camera: str, number: int, frame: int) -> Path:
    """Where the picture of a tracklet's crop is, in a folder of such pictures."""
    safe = quote(camera, safe="").replace(".", "%2E")
    return folder / safe / str(number) / f"{frame}.jpg"


def write_crop_pictures(video: Video, tracklets: Sequence[Tracklet], folder: Path) -> int:
    """Write the crops that were embedded as JPEG files, named by `crop_path`.

    Args:
        video: The recording, opened again.
        tracklets: What was found in it.
        folder: The folder, which is made where it is missing.

    Returns:
        Number of pictures. Those of frames that cannot be read are missing.
    """
    wanted: dict[int, list[tuple[Tracklet, int]]] = {}
    for tracklet in tracklets:
        for row in tracklet.embedded.tolist():
            wanted.setdefault(int(tracklet.frames[row]), []).append((tracklet, row))
    written = 0
    for frame in video.frames() if wanted else ():
        for tracklet, row in wanted.pop(frame.number, []):
            box = cover_a_pixel(tracklet.boxes[row][None].astype(np.float64), video.height, video.width)
            pixels = cut_crops(frame.pixels, box, video.channels)[0]
            path = crop_path(folder, tracklet.camera, tracklet.number, frame.number)
            make_folder(path.parent)
            with atomic_output(path) as temporary:
                Image.fromarray(pixels).save(temporary, format="JPEG", quality=_JPEG_QUALITY)
            written += 1
        if not wanted:
            break
    return written
