"""What a detector might report of drawn footage: boxes that are slightly off, missed people and false alarms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnireid.synthetic.scene import SeenPerson
from omnireid.types import DoubleArray

_SURE, _HOPELESS = 0.75, 0.2  # visibility from which nearly everybody is found, and up to which nobody is
_FOUND = 0.985
_FALSE_ALARMS = 0.02  # frames with a box where nobody is


def detect(
    seen: Sequence[SeenPerson], width: int, height: int, generator: np.random.Generator
) -> tuple[DoubleArray, DoubleArray]:
    """Draw the detections of one frame.

    A person is found more rarely, with a lower confidence and a less exact box, the more of them is hidden.

    Args:
        seen: Who is in the frame.
        width: Width of the frame in pixels.
        height: Height of the frame in pixels.
        generator: Source of the noise.

    Returns:
        (N, 4) left, top, right, bottom within the frame, and (N,) confidences in [0, 1].
    """
    boxes, confidences = [], []
    for person in seen:
        chance = _FOUND * float(np.clip((person.visibility - _HOPELESS) / (_SURE - _HOPELESS), 0, 1))
        noise, luck, doubt = generator.standard_normal(4), generator.random(), generator.standard_normal()
        if luck >= chance:
            continue
        left, top, right, bottom = person.box
        spread = 0.015 + 0.035 * (1 - person.visibility)
        size = np.array([right - left, bottom - top] * 2)
        boxes.append(np.array(person.box) + spread * size * np.clip(noise, -2, 2))
        confidences.append(0.5 + 0.45 * person.visibility + 0.04 * doubt)
    where, luck = generator.random(4), generator.random()
    if luck < _FALSE_ALARMS:
        tall = (0.15 + 0.3 * where[0]) * height
        left, top = where[1] * (width - tall / 2), where[2] * (height - tall)
        boxes.append(np.array([left, top, left + 0.4 * tall, top + tall]))
        confidences.append(0.3 + 0.35 * where[3])
    found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    found = np.clip(found, 0, np.array([width, height, width, height], dtype=np.float64))
    kept = (found[:, 2:] - found[:, :2] >= 4).all(axis=1)
    return found[kept], np.clip(np.array(confidences, dtype=np.float64), 0.05, 0.99)[kept]
