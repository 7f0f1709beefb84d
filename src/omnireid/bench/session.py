"""Measuring configurations, each in processes of its own, so that memory and start-up are those of one alone."""

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
from omnireid.bench.run_configurations import find_references
from omnireid.bench.worker import ANSWER, EMBEDDINGS, REQUEST
from omnireid.data.options import DataOptions
from omnireid.embedding.options import NetworkOptions
from omnireid.embedding.parity import Parity, compare_embeddings
from omnireid.embedding.run_configuration import RunConfiguration
from omnireid.errors import SettingError
from omnireid.progress import progress_bar
from omnireid.types import FloatArray

_STARTS = 3


@dataclass(frozen=True)
class Settings:
    """What is the same for all configurations of a benchmark.

    Attributes:
        seconds: Time each figure of speed is measured for. Longer is steadier.
        network: Which network it is, and where it runs.
        data: Data set to score every configuration on, or None.
        reading: How that data set is read.

    Raises:
        SettingError: `seconds` is not above 0.
    """

    seconds: float = 1.0
    network: NetworkOptions = NetworkOptions(device="cpu")
    data: Path | None = None
    reading: DataOptions = DataOptions()

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise SettingError(f"A figure is measured for more than 0 seconds; got seconds={self.seconds:g}.")


@dataclass(frozen=True)
class Measured:
    """A configuration and what it costs.

    Attributes:
        configuration: What was measured.
        architecture: Name of the network.
        device: Where the network ran, such as ``cpu, 2 threads``.
        streams: Number of batches that run beside each other.
        speeds: Batch size to speed.
        memory: Bytes by which the peak memory of the process grew from before the weights were opened to the end of
            the measurement. They hold libraries, weights and feature maps. None where the system does not say.
        startup: Seconds from the start of the process to its first embedding, the median of three starts.
        reference: The configuration the embeddings were compared with, and how close they are. None without one.
        rank1: Rank-1 accuracy as a fraction, or None without data.
        mean_average_precision: Mean average precision as a fraction, or None without data.
    """

    configuration: RunConfiguration
    architecture: str
    device: str
    streams: int
    speeds: dict[int, Speed]
    memory: int | None
    startup: float
    reference: tuple[RunConfiguration, Parity] | None
    rank1: float | None = None
    mean_average_precision: float | None = None

    @property
    def best_rate(self) -> float:
        """Crops per second at the best batch size, with or without streams."""
        return max(max(speed.rate, speed.stream_rate) for speed in self.speeds.values())


@dataclass(frozen=True)
class Refused:
    """A configuration that cannot run here, and the reason."""

    configuration: RunConfiguration
    reason: str


def measure_configurations(
    configurations: Sequence[RunConfiguration], settings: Settings, *, progress: bool = False
) -> list[Measured | Refused]:
    """Measure the configurations one after the other.

    Raises:
        WeightsError: a graph is damaged, or was not made by omnireid.
    """
    paths = list(dict.fromkeys(configuration.weights for configuration in configurations))
    results: list[Measured | Refused] = []
    with tempfile.TemporaryDirectory(prefix="omnireid-bench-") as folder:
        session = _Session(Path(folder), settings)
        with progress_bar("bench", len(configurations) + 1, unit="configurations", show=progress) as advance:
            references = {path: session.embed_reference(chosen) for path, chosen in find_references(paths).items()}
            advance(1)
            for configuration in configurations:
                advance(0, f"bench {configuration.name}")
                results.append(session.measure(configuration, references[configuration.weights]))
                advance(1)
    return results


class _Session:
    """Starts the processes, and has the folder they leave their answers in."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._embedded: dict[RunConfiguration, FloatArray | None] = {}

    def embed_reference(self, configuration: RunConfiguration | None) -> tuple[RunConfiguration, FloatArray] | None:
        """The embeddings of a reference, made once. None if there is no reference or it cannot run."""
        if configuration is None:
            return None
        if configuration not in self._embedded:
            answer = self._ask("embed", configuration)
            self._embedded[configuration] = None if "refused" in answer else np.load(self._folder / EMBEDDINGS)
        embeddings = self._embedded[configuration]
        return None if embeddings is None else (configuration, embeddings)

    def measure(
        self, configuration: RunConfiguration, reference: tuple[RunConfiguration, FloatArray] | None
    ) -> Measured | Refused:
        """Measure a configuration, and compare its embeddings with the reference."""
        answer = self._ask("measure", configuration)
        if "refused" in answer:
            return Refused(configuration, answer["refused"])
        compared = None
        if reference is not None:
            compared = (reference[0], compare_embeddings(reference[1], np.load(self._folder / EMBEDDINGS)))
        starts = []
        for _ in range(_STARTS):
            begun = time.time()
            started = self._ask("start", configuration)
            if "refused" in started:
                return Refused(configuration, started["refused"])
            starts.append(started["embedded_at"] - begun)
        return Measured(
            configuration,
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

    def _ask(self, what: str, configuration: RunConfiguration) -> dict[str, Any]:
        """Start a process for one piece of work. Returns its answer, or the reason under ``refused``."""
        settings = self._settings
        asked = {"runtime": configuration.runtime, "precision": configuration.precision}
        request = {
            "what": what,
            "weights": str(configuration.weights),
            "options": {**asked, **asdict(settings.network)},
            "data": None if settings.data is None else str(settings.data),
            "reading": asdict(settings.reading),
            "seconds": settings.seconds,
            "crop": CROP,
        }
        (self._folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        (self._folder / ANSWER).unlink(missing_ok=True)
        # Without -P, -m makes Python look for omnireid in the current folder first.
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
    """Say how a process ended that left no answer."""
    how = f"by signal {-code}" if code < 0 else f"with status {code}"
    line = (shown.strip().splitlines() or ["it printed nothing; was memory short?"])[-1]
    return f"Its process ended {how}: {line}"
