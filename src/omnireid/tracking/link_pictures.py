"""Pictures of both ends of the links of a recording, which is read a second time for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from omnireid.embedding.boxes import cover_a_pixel, cut_crops
from omnireid.images.decode import RgbArray
from omnireid.tracking.linking import LinkedTracklets
from omnireid.tracking.tracklets import Tracklet
from omnireid.tracking.video import Video


def cut_link_pictures(video: Video, linked: LinkedTracklets) -> Mapping[tuple[int, bool], RgbArray]:
    """Cut the crop at the end of each link's earlier tracklet and at the start of the later one.

    The crops are those nearest to the gap that were embedded, or the nearest ones where none was good enough.

    Args:
        video: The recording, opened again.
        linked: What was found in it.

    Returns:
        Crops by the tracklet's number and whether it is its end, not its start. Those of frames that cannot be read are
        missing.
    """
    tracklets = {tracklet.number: tracklet for tracklet in linked.tracklets}
    wanted: dict[int, list[tuple[tuple[int, bool], Tracklet, int]]] = {}
    for link in linked.links:
        for number, is_end in ((link.earlier, True), (link.later, False), (link.alternative, True)):
            if number is not None:
                tracklet = tracklets[number]
                rows = tracklet.embedded if len(tracklet.embedded) else np.arange(len(tracklet.frames))
                row = int(rows[-1 if is_end else 0])
                wanted.setdefault(int(tracklet.frames[row]), []).append(((number, is_end), tracklet, row))
    crops: dict[tuple[int, bool], RgbArray] = {}
    for frame in video.frames() if wanted else ():
        for key, tracklet, row in wanted.pop(frame.number, []):
            box = cover_a_pixel(tracklet.boxes[row][None].astype(np.float64), video.height, video.width)
            crops[key] = cut_crops(frame.pixels, box, video.channels)[0].copy()
        if not wanted:
            break
    return crops
