"""``runtime="auto"``: the fastest runtime and precision of this machine that pass the parity gate, tried once."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from omnireid.embedding.network import Network
from omnireid.embedding.options import Precision, RuntimeName
from omnireid.embedding.parity import GATES, compare_embeddings, probe_crops
from omnireid.errors import MissingDependencyError, OmnireidError
from omnireid.files import cache_folder, write_json
from omnireid.images.decode import RgbArray
from omnireid.machine import processor_name, usable_cores
from omnireid.types import FloatArray
from omnireid.version import __version__

_PROBES = 16
_ROUNDS = 3
_GAIN = 1.1
"""How much faster than float32 a lower precision has to be."""


@dataclass(frozen=True)
class Candidate:
    """A way to run the weights; a last resort is tried where nothing else can be opened."""

    runtime: RuntimeName
    precision: Precision
    open: Callable[[], Network]
    is_last_resort: bool = False

    @property
    def name(self) -> str:
        """Such as ``openvino bf16``."""
        return f"{self.runtime} {self.precision}"


@dataclass(frozen=True)
class Choice:
    """What was taken and why.

    Attributes:
        name: runtime and precision.
        rates: crops a second of each that passed the gate, by name; empty where there was nothing to choose from.
        refused: why others were not taken, by name.
        is_remembered: it was found earlier, and not tried again.
    """

    name: str
    rates: Mapping[str, float]
    refused: Mapping[str, str]
    is_remembered: bool = False

    def text(self) -> str:
        """One line for a person."""
        if not self.rates:
            if not self.refused:
                return f"runtime {self.name}: the only one here"
            if not self.name.startswith("torch"):
                return f"runtime {self.name}: the only one here that runs; omnireid bench says why"
            reasons = " ".join(dict.fromkeys(reason.splitlines()[0] for reason in self.refused.values()))
            return f"runtime {self.name}: slow on a CPU, and the only one here that runs. Of the faster ones: {reasons}"
        slower = "; ".join(f"{name} {rate:,.0f}" for name, rate in self.rates.items() if name != self.name)
        when = "as found earlier" if self.is_remembered else "remembered for next time"
        return f"runtime {self.name}: {self.rates[self.name]:,.0f} crops/s here{slower and f' ({slower})'}, {when}"


def choose(
    candidates: Sequence[Candidate], *, height: int, width: int, depends_on: Sequence[str]
) -> tuple[Network, Choice]:
    """Open the fastest of some ways to run one network.

    The first that opens is the reference of the parity gate. What was found is remembered, for this machine and
    these versions, in the cache; where that cannot be written, it is tried again the next time.

    Args:
        candidates: the reference first.
        height: of the network's input, in pixels.
        width: likewise.
        depends_on: what the choice depends on besides this machine and the versions: weights, threads, device.

    Raises:
        OmnireidError: none can be opened; the reference's error.
    """
    by_name = {candidate.name: candidate for candidate in candidates}
    place = _place([*by_name, *depends_on, f"{height}x{width}"])
    found = _recall(place)
    if found is not None and found.name in by_name:
        with suppress(OmnireidError):
            return by_name[found.name].open(), found
    networks: dict[str, Network] = {}
    refused: dict[str, str] = {}
    failure: OmnireidError | None = None
    for candidate in sorted(candidates, key=lambda candidate: candidate.is_last_resort):
        if networks and candidate.is_last_resort:
            break
        try:
            networks[candidate.name] = candidate.open()
        except OmnireidError as error:
            refused[candidate.name] = str(error)
            if failure is None or (
                isinstance(failure, MissingDependencyError) and not isinstance(error, MissingDependencyError)
            ):
                failure = error
    if not networks:
        assert failure is not None
        raise failure
    if len(networks) == 1:
        (name,) = networks
        return networks[name], Choice(name, {}, refused)
    name, choice = _try(networks, refused, probe_crops(_PROBES, height, width))
    if choice.rates:
        with suppress(OmnireidError):
            write_json(place, asdict(choice), indent=None)
    return networks[name], choice


def _try(networks: Mapping[str, Network], refused: dict[str, str], crops: RgbArray) -> tuple[str, Choice]:
    rates: dict[str, float] = {}
    reference: FloatArray | None = None
    for name, network in networks.items():
        try:
            embeddings = network.run(crops)
            reference = embeddings if reference is None else reference
            parity = compare_embeddings(reference, embeddings)
            if GATES[network.precision].passes(parity):
                rates[name] = measure_rate(network, crops)
                continue
        except OmnireidError as error:  # it opens, but cannot run, such as for want of memory
            refused[name] = str(error)
        else:
            refused[name] = f"fails the parity gate: smallest cosine {parity.smallest:.6f}, mean {parity.mean:.6f}"
    for name, so_far in list(rates.items()):  # a second turn: a busy moment must not decide what is remembered
        rates[name] = max(so_far, measure_rate(networks[name], crops))
    if not rates:  # nothing runs, or the reference gives no finite numbers: whoever embeds with it is told
        name = next(iter(networks))
        return name, Choice(name, {}, refused)
    # Other digits must pay: near a tie the more precise is taken, so that noise does not decide between them.
    worth = {name: rate * (1 if networks[name].precision == "fp32" else 1 / _GAIN) for name, rate in rates.items()}
    best = max(worth, key=lambda name: worth[name])
    return best, Choice(best, dict(sorted(rates.items(), key=lambda entry: -entry[1])), refused)


def measure_rate(network: Network, crops: RgbArray) -> float:
    """Crops a second of a network with all its streams busy; medians over a few rounds."""
    batch = np.concatenate([crops] * -(-network.batch_size // len(crops)))[: network.batch_size]
    run = network.run if network.run_stream is None else network.run_stream
    seconds = []
    with ThreadPoolExecutor(network.streams) as threads:
        for _ in range(_ROUNDS + 1):
            start = time.perf_counter()
            list(threads.map(run, [batch] * 2 * network.streams))
            seconds.append(time.perf_counter() - start)
    return 2 * network.streams * len(batch) / statistics.median(seconds[1:])  # the first compiles and warms up


def _place(words: Sequence[str]) -> Path:
    """The file that remembers a choice."""
    packages = []
    for package in ("onnxruntime", "openvino", "torch"):
        with suppress(PackageNotFoundError):
            packages.append(f"{package} {version(package)}")
    key = [__version__, processor_name(), str(usable_cores()), *packages, *words]
    return cache_folder() / "runtimes" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


def _recall(place: Path) -> Choice | None:
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        rates = {str(name): float(rate) for name, rate in record["rates"].items()}
        name = str(record["name"])
        return None if name not in rates else Choice(name, rates, dict(record["refused"]), is_remembered=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
