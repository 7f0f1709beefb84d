"""Claim: eight boxes of a frame cost less than 10 ms, a quarter of the time that a video of 25 frames a second leaves.

`Embedder.embed_boxes` gets a drawn BGR frame of 1920 × 1080 and 1, 8 and 32 boxes of people, with the default weights.
The baseline alternates with it in the same run: the whole frame is turned into RGB, the boxes are cut out as PIL images
and embedded by `Embedder.embed`, without quality. Beside it stands what measuring the quality alone takes. All are
medians over the rounds, and the embeddings of both must be the same.

Run: python benchmarks/frame_boxes.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from omnireid import Embedder, load_embedder
from omnireid.embedding.boxes import cut_crops
from omnireid.images.quality import measure_crop
from omnireid.machine import describe
from omnireid.types import ByteArray, FloatArray, IntArray

HEIGHT, WIDTH = 1080, 1920
COUNTS = (1, 8, 32)
REAL_TIME_MS, SHARE = 40.0, 0.25


def draw(count: int) -> tuple[ByteArray, IntArray]:
    """A frame of smooth noise, and boxes of people in it."""
    rng = np.random.default_rng(count)
    small = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    frame = np.array(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    heights = rng.integers(120, 320, count)
    lefts, tops = rng.integers(0, WIDTH - 160, count), rng.integers(0, HEIGHT - 320, count)
    return frame, np.stack([lefts, tops, lefts + heights * 2 // 5, tops + heights], axis=1)


def embed_by_hand(embedder: Embedder, frame: ByteArray, boxes: IntArray) -> FloatArray:
    """What a caller without `embed_boxes` writes."""
    picture = Image.fromarray(np.ascontiguousarray(frame[..., ::-1]))
    return embedder.embed([picture.crop(tuple(box)) for box in boxes.tolist()])


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def measure(embedder: Embedder, count: int, rounds: int) -> tuple[float, float, float]:
    """Milliseconds by hand, by `embed_boxes`, and for the quality alone."""
    frame, boxes = draw(count)
    found = embedder.embed_boxes(frame, boxes, "bgr")
    difference = np.abs(found.embeddings - embed_by_hand(embedder, frame, boxes)).max()
    assert difference == 0, difference
    crops = cut_crops(frame, boxes, "bgr")
    times = [
        (
            milliseconds(lambda: embed_by_hand(embedder, frame, boxes)),
            milliseconds(lambda: embedder.embed_boxes(frame, boxes, "bgr")),
            milliseconds(lambda: [measure_crop(crop) for crop in crops]),
        )
        for _ in range(rounds)
    ]
    hand, ours, quality = (statistics.median(values) for values in zip(*times, strict=True))
    return hand, ours, quality


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    embedder = load_embedder()
    print(embedder.choice)
    print(f"{'boxes':>5}{'by hand, ms':>13}{'embed_boxes, ms':>17}{'ratio':>7}{'quality, ms':>13}{'of real time':>14}")
    for count in COUNTS:
        hand, ours, quality = measure(embedder, count, rounds)
        share = ours / REAL_TIME_MS
        target = f"  target {SHARE:.0%}: {'met' if share < SHARE else 'missed'}" if count == 8 else ""
        print(f"{count:>5}{hand:>13.1f}{ours:>17.1f}{hand / ours:>7.2f}{quality:>13.2f}{share:>14.0%}{target}")
    print(describe().text())


if __name__ == "__main__":
    main()
