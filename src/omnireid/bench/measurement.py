"""The measurements of one configuration, made in a process that does nothing else."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from omnireid.embedding.choice import measure_rate
from omnireid.embedding.embedder import Embedder
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import RgbArray
from omnireid.images.probes import probe_crops
from omnireid.types import Dataset, FloatArray

BATCHES = (1, 8, 32)
CROP = (301, 117)
"""Height and width of the crops whose latency is measured: the size of a person that a detector cuts from a video."""

_COMPARED = 64
_FEWEST_CALLS = 5


@dataclass(frozen=True)
class Speed:
    """Speed at one batch size.

    Attributes:
        rate: Crops per second, one batch after the other on all threads.
        stream_rate: Crops per second with every stream busy, one batch each.
        latency_p50: Median time from arrays in memory to embeddings, in seconds.
        latency_p95: Time within which 95 % of the calls finish, in seconds.
    """

    rate: float
    stream_rate: float
    latency_p50: float
    latency_p95: float


def measure_speed(embedder: Embedder, batch: int, seconds: float) -> Speed:
    """Measure one batch size, each figure for `seconds`."""
    size = embedder.metadata.preprocessing
    pixels, network = probe_crops(batch, size.height, size.width), embedder.network
    times = _repeat(lambda: network.run(pixels), seconds)
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while not rates or time.perf_counter() < end:
        rates.append(measure_rate(replace(network, batch_size=batch), pixels))
    arrays = list(probe_crops(batch, *CROP))
    latencies = _repeat(lambda: embedder.embed(arrays), seconds)
    return Speed(
        batch / statistics.median(times),
        statistics.median(rates),
        statistics.median(latencies),
        float(np.percentile(latencies, 95)),
    )


def _repeat(call: Callable[[], object], seconds: float) -> list[float]:
    """Call again and again for `seconds`. Returns the duration of each call but the first, which warms up."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _FEWEST_CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def embed_probes(embedder: Embedder, dataset: Dataset | None) -> FloatArray:
    """Embed the same crops in every process: queries of the data set, or drawn crops without one."""
    preprocessing = embedder.metadata.preprocessing
    if dataset is None:
        pixels = probe_crops(_COMPARED, preprocessing.height, preprocessing.width)
        return _run(embedder, [pixels[start : start + max(BATCHES)] for start in range(0, _COMPARED, max(BATCHES))])
    paths = dataset.query.paths
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, min(len(paths), _COMPARED)).astype(int)]
    return _run(embedder, [batch.pixels for batch in iterate_batches(chosen, preprocessing, batch_size=max(BATCHES))])


def _run(embedder: Embedder, batches: Sequence[RgbArray]) -> FloatArray:
    return np.concatenate([embedder.network.run(pixels) for pixels in batches])


def peak_memory() -> int | None:
    """Peak memory of this process in bytes, or None where the system does not say."""
    if sys.platform == "linux":
        # ru_maxrss would begin at what the parent process held.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(found[0]) if found else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
