"""Measuring many ways, each in processes of its own, so that memory and start-up are those of one way alone."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.bench.measurement import CROP, Speed
from omnireid.bench.run_configurations import Way, find_references
from omnireid.bench.worker import ANSWER, EMBEDDINGS, REQUEST
from omnireid.data.options import DataOptions
from omnireid.embedding.options import NetworkOptions
from omnireid.embedding.parity import Parity, compare_embeddings
from omnireid.progress import progress_bar
from omnireid.types import FloatArray

_STARTS = 3


@dataclass(frozen=True)
class Settings:
    """What holds for all ways.

    Attributes:
        seconds: how long each figure of speed is measured.
        network: which network it is, and where it runs.
        data: a data set to score on, or None.
        data_options: how that data set is read.
    """

    seconds: float = 1.0
    network: NetworkOptions = NetworkOptions(device="cpu")
    data: Path | None = None
    data_options: DataOptions = DataOptions()


@dataclass(frozen=True)
class Measured:
    """A way and what it costs.

    Attributes:
        way: what was measured.
        architecture: of the network.
        device: where it ran, in words.
        streams: how many batches run beside each other.
        speeds: batch size to speed.
        memory: bytes by which the peak of the process grew from before the weights were opened to the end of the
            measurement: libraries, weights and feature maps. None where the system does not tell.
        startup: seconds from the start of the process to its first embedding, the median of a few.
        reference: what the embeddings were compared with, and how near they are; None without a reference.
        rank1: a fraction, with data.
        mean_average_precision: likewise.
    """

    way: Way
    architecture: str
    device: str
    streams: int
    speeds: dict[int, Speed]
    memory: int | None
    startup: float
    reference: tuple[Way, Parity] | None
    rank1: float | None = None
    mean_average_precision: float | None = None

    @property
    def best_rate(self) -> float:
        """Crops a second, however they are batched."""
        return max(max(speed.rate, speed.stream_rate) for speed in self.speeds.values())


@dataclass(frozen=True)
class Refused:
    """A way that cannot be run here, and why."""

    way: Way
    reason: str


def measure_ways(ways: Sequence[Way], settings: Settings, *, progress: bool = False) -> list[Measured | Refused]:
    """Measure some ways, one after the other, in their order.

    Raises:
        WeightsError: a graph is damaged or not one of ours.
    """
    paths = list(dict.fromkeys(way.weights for way in ways))
    results: list[Measured | Refused] = []
    with tempfile.TemporaryDirectory(prefix="omnireid-bench-") as folder:
        session = _Session(Path(folder), settings)
        with progress_bar("bench", len(ways) + 1, unit="ways", show=progress) as advance:
            references = {path: session.embed_reference(way) for path, way in find_references(paths).items()}
            advance(1)
            for way in ways:
                advance(0, f"bench {way.name}")
                results.append(session.measure(way, references[way.weights]))
                advance(1)
    return results


class _Session:
    """The processes, and the folder they leave their answers in."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._embedded: dict[Way, FloatArray | None] = {}

    def embed_reference(self, way: Way | None) -> tuple[Way, FloatArray] | None:
        """The embeddings of a reference, made once; None where there is none or it cannot be run."""
        if way is None:
            return None
        if way not in self._embedded:
            answer = self._ask("embed", way)
            self._embedded[way] = None if "refused" in answer else np.load(self._folder / EMBEDDINGS)
        embeddings = self._embedded[way]
        return None if embeddings is None else (way, embeddings)

    def measure(self, way: Way, reference: tuple[Way, FloatArray] | None) -> Measured | Refused:
        answer = self._ask("measure", way)
        if "refused" in answer:
            return Refused(way, answer["refused"])
        compared = None
        if reference is not None:
            compared = (reference[0], compare_embeddings(reference[1], np.load(self._folder / EMBEDDINGS)))
        starts = []
        for _ in range(_STARTS):
            begun = time.time()
            started = self._ask("start", way)
            if "refused" in started:
                return Refused(way, started["refused"])
            starts.append(started["embedded_at"] - begun)
        return Measured(
            way,
            answer["architecture"],
            answer["device"],
            answer["streams"],
            {int(batch): Speed(**speed) for batch, speed in answer["speeds"].items()},
            answer["memory"],
            statistics.median(starts),
            compared,
            answer.get("rank1"),
            answer.get("mean_average_precision"),
        )

    def _ask(self, what: str, way: Way) -> dict[str, Any]:
        """Start a process for one piece of work: its answer, or why there is none."""
        settings = self._settings
        request = {
            "what": what,
            "weights": str(way.weights),
            "options": {"runtime": way.runtime, "precision": way.precision, **asdict(settings.network)},
            "data": None if settings.data is None else str(settings.data),
            "data_options": asdict(settings.data_options),
            "seconds": settings.seconds,
            "crop": CROP,
        }
        (self._folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        (self._folder / ANSWER).unlink(missing_ok=True)
        # -P, because with -m Python would look for omnireid in the folder the command is given in.
        words = [sys.executable, "-P", "-m", "omnireid.bench.worker", str(self._folder)]
        nothing = subprocess.DEVNULL
        with subprocess.Popen(
            words, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
        ) as process:
            try:
                _, shown = process.communicate()
            except BaseException:
                process.kill()
                raise
        if process.returncode == 0:
            answer: dict[str, Any] = json.loads((self._folder / ANSWER).read_text(encoding="utf-8"))
            return answer
        return {"refused": _end_of(process.returncode, shown)}


def _end_of(code: int, shown: str) -> str:
    """How a process ended that left no answer."""
    how = f"by signal {-code}" if code < 0 else f"with status {code}"
    line = (shown.strip().splitlines() or ["it said nothing; was memory short?"])[-1]
    return f"Its process ended {how}: {line}"
