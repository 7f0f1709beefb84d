"""How many threads a run computes with, and how they wait for each other. Imports no torch.

A training step of a small network has more than a thousand parallel loops, and every
thread waits at the end of each. OpenMP's threads spin while they wait, by default for
milliseconds. That is fast on idle cores. Where other processes want the cores, the
spinning threads keep away the very thread they wait for: 16 steps that take 12 s on
one thread of a busy two-core machine took 85 to 100 s on two (docs/results.md).

The command line therefore lets threads wait only briefly before they sleep, and takes
as many threads as there are idle cores when the run begins. The library changes
neither: it uses the threads that the process has, or `RunOptions.threads`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType

from omnireid.machine import usable_cores

SHORT_WAITING: Mapping[str, str] = MappingProxyType({"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"})
"""Environment in which OpenMP threads spin for microseconds (GNU) or a millisecond (Intel, LLVM) before they sleep.

GNU's own default is 1000 where it knows that it has more threads than cores, and 300,000 elsewhere.
"""

_SAMPLE_S = 0.25
_STAT = Path("/proc/stat")


def shorten_waiting(environment: MutableMapping[str, str]) -> None:
    """Put `SHORT_WAITING` into the environment, unless it says already how threads wait.

    Only a process that has not imported torch yet is affected, since OpenMP reads the environment once.
    """
    if not {"OMP_WAIT_POLICY", *SHORT_WAITING} & set(environment):
        environment.update(SHORT_WAITING)


def choose_threads(run: Path, *, resume: bool, environment: Mapping[str, str]) -> int | None:
    """Number of threads for a run that is not told one; None leaves the choice to torch.

    Sums come out with other roundings on another number of threads. A resumed run therefore takes the number it
    began with, which its ``run.json`` records.

    Args:
        run: The run's ``run.json``, which need not exist.
        resume: Whether the run is to be resumed.
        environment: The process's environment. Under torchrun, or with ``OMP_NUM_THREADS``, the choice is made there.
    """
    if "WORLD_SIZE" in environment or "OMP_NUM_THREADS" in environment:
        return None
    if resume and run.is_file():
        try:
            return int(json.loads(run.read_text(encoding="utf-8"))["threads"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return count_idle_cores()


def count_idle_cores(stat: Path = _STAT, sample_s: float = _SAMPLE_S) -> int:
    """Cores that this process may use and that other processes leave idle, at least 1.

    Looks at the processors' counters twice, `sample_s` seconds apart. Where the system has no such counters, all usable
    cores are taken to be idle.
    """
    cores = usable_cores()
    before = _read_counters(stat)
    time.sleep(sample_s if before else 0)
    idle = idle_share(before, _read_counters(stat))
    return cores if idle is None else max(1, min(cores, round(idle * cores)))


def idle_share(before: list[int], after: list[int]) -> float | None:
    """Share of the time between two readings in which the processors were idle, in [0, 1]; None if there is none.

    Args:
        before: Counters of ``/proc/stat``: user, nice, system, idle, waiting for input and output, and others.
        after: The same counters, later.
    """
    spent = [late - early for early, late in zip(before, after, strict=False)]
    total = sum(spent)
    return sum(spent[3:5]) / total if len(spent) >= 5 and total > 0 else None


def _read_counters(stat: Path) -> list[int]:
    """The counters of all processors together; empty where the system has none."""
    try:
        first = stat.read_text(encoding="utf-8").partition("\n")[0].split()
        return [int(word) for word in first[1:9]] if first[:1] == ["cpu"] else []
    except (OSError, ValueError):
        return []
