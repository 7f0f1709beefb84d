"""Claim: from files to the network's input, omnireid prepares three times the crops per CPU second of Pillow alone.

The baseline alternates with ours in the same run. Pillow opens, decodes and
resizes each crop in a task of its own, on the same number of threads, and the
crops are stacked into batches of 32. ``decode`` goes from files to RGB, ``decode,
resize`` from files to 256 × 128. Both sides give the same bytes, which is checked
first. There are two rates: crops per second, and crops per second of CPU time
over all threads, which other processes disturb less. A ratio is the median over
the rounds, with its range.

Then the latency of crops in memory is measured, as the frames of a video give
them: 1, 8 and 32 arrays, from the call to the last batch, as medians and their ratio.

Run: python benchmarks/pixels.py [--tiny] [--drawn | FOLDER]
(default ../shared/data/Market-1501-v15.09.15/query; --drawn: 2,400 drawn crops)
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from omnireid import synthesize
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import read_image
from omnireid.images.preprocess import Preprocessing
from omnireid.machine import describe

MARKET = Path(__file__).resolve().parents[2] / "shared/data/Market-1501-v15.09.15/query"
BATCH = 32
GROUP = 8  # crops a task of both when only decoding: the decoders are compared, not the hand-over
PREPROCESSING = Preprocessing(256, 128)
SHAPES = ((301, 117, 3), (128, 64, 3))

Crop = npt.NDArray[np.uint8]
Source = Path | Crop


@dataclass(frozen=True)
class Rate:
    """Crops a second of wall time and of CPU time."""

    wall: float
    cpu: float


def pillow_decode(source: Source) -> Image.Image:
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    with Image.open(source) as image:
        return image.convert("RGB")


def pillow_resize(source: Source) -> Crop:
    image = pillow_decode(source)
    return np.asarray(image.resize((PREPROCESSING.width, PREPROCESSING.height), Image.Resampling.BILINEAR))


def pillow_batches(sources: Sequence[Source], threads: int) -> Iterator[Crop]:
    """One task a crop, and stacked; two batches ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(pillow_resize, source) for source in sources[: 2 * BATCH]]
        rest = iter(sources[2 * BATCH :])
        while waiting:
            yield np.stack([task.result() for task in waiting[:BATCH]])
            waiting = waiting[BATCH:]
            waiting += [pool.submit(pillow_resize, source) for source in islice(rest, BATCH)]


def our_batches(sources: Sequence[Source], threads: int) -> Iterator[Crop]:
    for batch in iterate_batches(sources, PREPROCESSING, batch_size=BATCH, workers=threads):
        yield batch.pixels


def decode_all(decode: Callable[[Path], object], paths: Sequence[Path], threads: int) -> None:
    def several(group: Sequence[Path]) -> None:
        for path in group:
            decode(path)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(several, (paths[i : i + GROUP] for i in range(0, len(paths), GROUP))))


def rate(run: Callable[[int], object], threads: int, crops: int) -> Rate:
    cpu, wall = time.process_time(), time.perf_counter()
    run(threads)
    return Rate(crops / (time.perf_counter() - wall), crops / (time.process_time() - cpu))


def compare(name: str, theirs: Callable[[int], object], ours: Callable[[int], object], crops: int, rounds: int) -> None:
    """Print one line a number of threads."""
    for threads in (1, 2):
        theirs(threads), ours(threads)
        pairs = [(rate(theirs, threads, crops), rate(ours, threads, crops)) for _ in range(rounds)]
        line = f"{name}, {threads} thread(s)"
        for kind in ("wall", "cpu"):
            before = statistics.median(getattr(pair[0], kind) for pair in pairs)
            after = statistics.median(getattr(pair[1], kind) for pair in pairs)
            ratios = [getattr(pair[1], kind) / getattr(pair[0], kind) for pair in pairs]
            line += (
                f"   {kind}: Pillow {before:,.0f}, omnireid {after:,.0f} crops/s, "
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            )
        print(line, flush=True)


def exhaust(batches: Iterator[Crop]) -> None:
    for _ in batches:
        pass


def compare_files(paths: Sequence[Path], rounds: int) -> None:
    compare(
        "decode",
        lambda threads: decode_all(lambda path: np.asarray(pillow_decode(path)), paths, threads),
        lambda threads: decode_all(read_image, paths, threads),
        len(paths),
        rounds,
    )
    compare(
        "decode, resize",
        lambda threads: exhaust(pillow_batches(paths, threads)),
        lambda threads: exhaust(our_batches(paths, threads)),
        len(paths),
        rounds,
    )


def milliseconds(
    batches: Callable[[Sequence[Source], int], Iterator[Crop]], arrays: Sequence[Crop]
) -> tuple[float, float]:
    """Wall and CPU time."""
    cpu, wall = time.process_time(), time.perf_counter()
    exhaust(batches(arrays, 2))
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def compare_latencies(rounds: int) -> None:
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for count in (1, 8, 32):
            arrays = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]
            line = f"{count} array(s) of {shape[0]} × {shape[1]}"
            pairs = [(milliseconds(pillow_batches, arrays), milliseconds(our_batches, arrays)) for _ in range(rounds)]
            for i, kind in enumerate(("wall", "cpu")):
                before, after = (statistics.median(pair[which][i] for pair in pairs) for which in (0, 1))
                line += f"   {kind}: Pillow {before:.2f} ms, omnireid {after:.2f} ms, ratio {before / after:.2f}"
            print(line, flush=True)


def check_equal(paths: Sequence[Path]) -> None:
    for ours, theirs in zip(our_batches(paths, 2), pillow_batches(paths, 2), strict=True):
        if not np.array_equal(ours, theirs):
            raise SystemExit("The two do not give the same bytes.")
    print(f"{len(paths):,} files: the same bytes")


def main() -> None:
    tiny = "--tiny" in sys.argv
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(folders[0]) if folders else MARKET
        if "--drawn" in sys.argv:
            folder = synthesize(Path(place) / "drawn", identities=4 if tiny else 100, cameras=6, per_camera=4, seed=0)
        paths = sorted(folder.rglob("*.jpg"))[: 64 if tiny else None]
        if not paths:
            raise SystemExit(f"No .jpg in {folder}. Give a folder of crops, or --drawn.")
        check_equal(paths)
        compare_files(paths, 1 if tiny else 5)
    compare_latencies(3 if tiny else 101)
    print(describe().text())
    try:
        print(f"simplejpeg {version('simplejpeg')}")
    except PackageNotFoundError:
        print("simplejpeg is not installed: Pillow decodes")


if __name__ == "__main__":
    main()
