"""``runtime="auto"``: tries runtimes and precisions once, and takes the fastest that passes the parity gate."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from omnireid.embedding.network import Network
from omnireid.embedding.parity import GATES, compare_embeddings
from omnireid.embedding.run_configuration import RunConfiguration
from omnireid.errors import MissingDependencyError, OmnireidError
from omnireid.files import cache_folder, write_json
from omnireid.images.decode import RgbArray
from omnireid.images.probes import probe_crops
from omnireid.machine import processor_name, usable_cores
from omnireid.types import FloatArray
from omnireid.version import __version__

_PROBES = 16
_ROUNDS = 3
_GAIN = 1.1
"""How many times as fast as float32 a lower precision must be to be taken."""

_NOT_TRIED = "not tried, because another runtime works and is faster on a CPU"

_FOUND: dict[str, Choice] = {}
"""Choices that could not be written to the cache, by the name of their file. They last as long as the process."""


@dataclass(frozen=True)
class Candidate(RunConfiguration):
    """A configuration that may be taken, with the function that opens it.

    A last resort is tried only if nothing else can be opened.
    """

    open: Callable[[], Network]
    is_last_resort: bool = False


@dataclass(frozen=True)
class Choice:
    """Which runtime and precision were taken, and why. Its text is one line.

    Attributes:
        name: The runtime and precision taken, such as ``openvino bf16``.
        rates: Crops per second of each that passed the gate, by name. Empty if there was nothing to choose from.
        refused: Why each of the others could not be taken, by name.
        is_remembered: Whether the choice was made earlier, and nothing was tried now.
        not_kept: Why the choice could not be written to the cache; empty if it was.
    """

    name: str
    rates: Mapping[str, float]
    refused: Mapping[str, str]
    is_remembered: bool = False
    not_kept: str = ""

    def __str__(self) -> str:
        """One line for a person: what was taken, and the reason for each that was not."""
        is_slow = not self.rates and bool(self.refused) and self.name.startswith("torch")
        reasons: dict[str, list[str]] = {}
        for name, reason in self.refused.items():
            if reason != _NOT_TRIED:  # the advice that follows a reason is worth its length only where it would help
                reasons.setdefault(reason.splitlines()[0] if is_slow else _first_sentence(reason), []).append(name)
        refused = "".join(f"; not {' or '.join(names)}: {reason}" for reason, names in reasons.items())
        if not self.rates:
            slow = "slow on a CPU, and " if is_slow else ""
            return f"runtime {self.name}: {slow}the only one here{' that works' if reasons else ''}{refused}"
        slower = "; ".join(f"{name} {rate:,.0f}" for name, rate in self.rates.items() if name != self.name)
        when = "as found earlier" if self.is_remembered else "remembered for next time"
        if self.not_kept and not self.is_remembered:
            when = f"remembered for this process only: {_first_sentence(self.not_kept)}"
        rate = f"{self.rates[self.name]:,.0f} crops/s here{slower and f' ({slower})'}"
        return f"runtime {self.name}: {rate}, {when}{refused}"


def _first_sentence(text: str) -> str:
    """The text up to its first full stop, which an advice often follows."""
    return text.split(". ", maxsplit=1)[0].rstrip(".")


def choose(
    candidates: Sequence[Candidate], *, height: int, width: int, depends_on: Sequence[str]
) -> tuple[Network, Choice]:
    """Open the fastest of several ways to run one network.

    The first that opens is the reference for the parity gate. The choice is remembered in the cache, for this machine
    and these versions. If the cache cannot be written, it is remembered until the process ends.

    Args:
        candidates: Ways to run the network, the reference first.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        depends_on: What else the choice depends on: weights, threads and device.

    Raises:
        OmnireidError: none can be opened. The error is the reference's, unless that is merely not installed.
    """
    by_name = {candidate.name: candidate for candidate in candidates}
    file_name = _file_name([*by_name, *depends_on, f"{height}x{width}"])
    found = _FOUND.get(file_name) or _recall(file_name)
    if found is not None and found.name in by_name:
        with suppress(OmnireidError):
            return by_name[found.name].open(), found
    networks: dict[str, Network] = {}
    refused: dict[str, str] = {}
    failure: OmnireidError | None = None
    for candidate in sorted(candidates, key=lambda candidate: candidate.is_last_resort):
        if networks and candidate.is_last_resort:
            refused[candidate.name] = _NOT_TRIED
            continue
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
        try:
            write_json(_folder() / file_name, asdict(choice), indent=None)
        except OmnireidError as error:
            choice = replace(choice, not_kept=str(error))
            _FOUND[file_name] = replace(choice, is_remembered=True)
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
        except OmnireidError as error:  # it opens but cannot run, for example because memory is too small
            refused[name] = str(error)
        else:
            refused[name] = f"fails the parity gate: smallest cosine {parity.smallest:.6f}, mean {parity.mean:.6f}"
    for name, so_far in list(rates.items()):  # a second turn, so that a busy moment does not decide what is remembered
        rates[name] = max(so_far, measure_rate(networks[name], crops))
    if not rates:  # nothing runs, or the reference is not finite; embedding with it raises the error
        name = next(iter(networks))
        return name, Choice(name, {}, refused)
    # A lower precision must pay. Near a tie float32 is taken, so that noise does not decide between them.
    worth = {name: rate * (1 if networks[name].precision == "fp32" else 1 / _GAIN) for name, rate in rates.items()}
    best = max(worth, key=lambda name: worth[name])
    return best, Choice(best, dict(sorted(rates.items(), key=lambda entry: -entry[1])), refused)


def measure_rate(network: Network, crops: RgbArray) -> float:
    """Crops per second of a network with all its streams busy, by the median of a few rounds."""
    batch = np.concatenate([crops] * -(-network.batch_size // len(crops)))[: network.batch_size]
    run = network.run if network.run_stream is None else network.run_stream
    seconds = []
    with ThreadPoolExecutor(network.streams) as threads:
        for _ in range(_ROUNDS + 1):
            start = time.perf_counter()
            list(threads.map(run, [batch] * 2 * network.streams))
            seconds.append(time.perf_counter() - start)
    return 2 * network.streams * len(batch) / statistics.median(seconds[1:])  # the first compiles and warms up


def _file_name(words: Sequence[str]) -> str:
    """Name of the file in the cache that keeps a choice."""
    packages = []
    for package in ("onnxruntime", "openvino", "torch"):
        with suppress(PackageNotFoundError):
            packages.append(f"{package} {version(package)}")
    key = [__version__, processor_name(), str(usable_cores()), *packages, *words]
    return f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


def _folder() -> Path:
    return cache_folder() / "runtimes"


def _recall(file_name: str) -> Choice | None:
    try:
        record = json.loads((_folder() / file_name).read_text(encoding="utf-8"))
        rates = {str(name): float(rate) for name, rate in record["rates"].items()}
        name = str(record["name"])
        return None if name not in rates else Choice(name, rates, dict(record["refused"]), is_remembered=True)
    except (OmnireidError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
