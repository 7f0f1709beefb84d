"""Claim: a service answers 200 clients at once without an error and without a lost write, in memory that stays flat.

Drawn people are put into a gallery, and `omnireid serve` serves it in a process of its own, on loopback. 200 clients,
a thread each, ask as fast as they are answered: 80 % searches, 15 % additions of crops that were never there, 5 %
decisions. Afterwards every acknowledged sighting and decision must be in the gallery, and `omnireid gallery check` must
find nothing. The clients run on the same cores as the service. Expect a minute and a half for 60 seconds.
`service_embed.py` compares the service with the network alone.

Memory is taken ten times: with 600 seconds, once a minute. The load adds to the gallery, which a service keeps in
memory, so what each sighting and each decision takes there is measured in this process and subtracted. Flat means that
the rest grows by at most 32 MiB after the first tenth, and by at most 16 MiB in the second half. Below 150 seconds the
first tenth is too short to be judged by. Writes take the most memory, so `--writes 0.8` shows a growth sooner.

Run: python benchmarks/service_load.py [--seconds 60] [--clients 200] [--sightings 2000] [--writes 0.2]
    [--weights WEIGHTS]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omnireid import Gallery, OmnireidError, ServiceClient, synthesize
from omnireid.cli import main as omnireid
from omnireid.gallery.identities import read_decisions, read_identities
from omnireid.gallery.register import read_register
from omnireid.gallery.snapshot import read_snapshot
from omnireid.machine import describe

WRITES = {"add": 0.75, "decide": 0.25}
MOST_GROWTH_MIB = {"first tenth": 32.0, "first half": 16.0}
"""Growth of memory after a part of the load, beyond what the gallery itself takes."""
WARM_SECONDS = 15.0
"""Time after which the network and every thread have been used."""


@dataclass
class Served:
    """A service in a process of its own.

    Attributes:
        address: Where it is.
        process: Its process.
    """

    address: str
    process: subprocess.Popen[str]

    def memory_mib(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def processor_seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Moment:
    """The service at one moment of the load.

    Attributes:
        seconds: Time since the load began.
        requests: Number of answers so far.
        added: Number of sightings added so far.
        decided: Number of decisions so far.
        memory_mib: Resident memory of the service.
    """

    seconds: float
    requests: int
    added: int
    decided: int
    memory_mib: float


@dataclass
class Record:
    """What the clients saw.

    Attributes:
        seconds: Kind to the seconds that each request took.
        errors: Class and message of each error.
        added: Numbers of acknowledged sightings.
        decided: Numbers of acknowledged decisions.
        moments: The service after each tenth of the time.
        taken: Seconds until the last client had its last answer.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    decided: list[int] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    taken: float = 0.0


@contextlib.contextmanager
def serving(gallery: Path, kept: Path, *flags: str, log: Path | None = None) -> Iterator[Served]:
    """Serve a gallery until the body ends, and write the service's log where one is named."""
    words = [sys.executable, "-u", "-m", "omnireid", "serve", "--gallery", str(gallery), "--keep-crops", str(kept)]
    words += ["--port", "0", "--requests-per-second", "1000000", *flags]
    with (
        (Path(os.devnull) if log is None else log).open("w") as errors,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"The service did not start: {' '.join(words)}")
        try:
            yield Served(line.split()[-1], process)
        finally:
            process.terminate()
            process.wait(60)


def make_gallery(folder: Path, sightings: int, weights: str | None) -> tuple[Path, list[bytes]]:
    """A gallery of drawn people, and the bytes of its crops."""
    cameras, per_camera = 4, 5
    # Half of the people are for training, and their crops are not added.
    identities = 2 * max(2, round(sightings / (cameras * per_camera)))
    synthesize(folder / "people", identities=identities, cameras=cameras, per_camera=per_camera)
    crops = folder / "people" / "bounding_box_test"
    chosen = [] if weights is None else ["--weights", weights]
    with contextlib.redirect_stdout(io.StringIO()):
        code = omnireid(["gallery", "add", str(crops), "--gallery", str(folder / "g"), *chosen])
    if code:
        raise SystemExit(code)
    return folder / "g", [path.read_bytes() for path in sorted(crops.glob("*.jpg"))]


def unique(crop: bytes, number: int) -> bytes:
    """The same JPEG picture with a comment, so that it is another file."""
    comment = f"crop {number}".encode()
    return crop[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + crop[2:]


def in_threads(work: Callable[[int], None], count: int) -> float:
    """Run `work` in so many threads, wait for all of them, and return the seconds that took."""
    began = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def load(served: Served, crops: list[bytes], clients: int, seconds: float, writes: float) -> Record:
    """Let the clients ask, a share of `writes` among their requests, and look at the memory ten times."""
    record = Record()
    mix = {"search": 1 - writes} | {kind: share * writes for kind, share in WRITES.items()}
    until = time.perf_counter() + seconds

    def work(number: int) -> None:
        rng = random.Random(number)
        with ServiceClient(served.address, timeout_s=300) as service:
            while time.perf_counter() < until:
                kind = rng.choices(list(mix), list(mix.values()))[0]
                crop = rng.choice(crops)
                began = time.perf_counter()
                try:
                    if kind == "search":
                        service.search(crop, count=20)
                    elif kind == "add":
                        new = unique(crop, rng.getrandbits(48))
                        added = service.add_sighting(new, camera=str(rng.randrange(4)), keep_all=True)
                        record.added.append(added.sighting.number)
                    else:
                        chosen = rng.randrange(1, len(crops) + 1)
                        decision = service.assign([chosen], f"person {rng.randrange(50)}")
                        record.decided.append(decision.event)
                except OmnireidError as error:
                    record.errors.append(f"{type(error).__name__}: {error}")
                    continue
                record.seconds[kind].append(time.perf_counter() - began)

    def watch() -> None:
        for tenth in range(1, 11):
            time.sleep(max(0.0, until - seconds + tenth * seconds / 10 - time.perf_counter()))
            done, added, decided = sum(map(len, record.seconds.values())), len(record.added), len(record.decided)
            now = Moment(tenth * seconds / 10, done, added, decided, served.memory_mib())
            record.moments.append(now)
            print(
                f"  after {now.seconds:4.0f} s: {done:,} requests, {added:,} sightings and {decided:,} decisions more, "
                f"{now.memory_mib:.0f} MiB",
                flush=True,
            )

    watcher = threading.Thread(target=watch)
    watcher.start()
    record.taken = in_threads(work, clients)
    watcher.join()
    return record


def kept_bytes(gallery: Path) -> tuple[float, float]:
    """Memory that a service keeps for each sighting and for each decision, measured in this process."""
    database = Gallery.open(gallery).database
    snapshot, register = read_snapshot(database), read_register(database)
    count, width = snapshot.embeddings.shape
    compared = 4 * (width + 1)  # in float32, with a factor
    sighting = (
        snapshot.embeddings[0].nbytes + compared + (snapshot.sightings.table.nbytes + register.table.nbytes) / count
    )
    tracemalloc.start()
    decisions, _identities = read_decisions(database), read_identities(database)
    decision = tracemalloc.get_traced_memory()[0] / max(1, len(decisions))
    tracemalloc.stop()
    return sighting, decision


def report_memory(record: Record, gallery: Path) -> bool:
    """Print how memory grew and what of that is the gallery; returns whether the rest stayed flat, as far as known."""
    sighting, decision = kept_bytes(gallery)
    print(f"memory of the gallery itself: {sighting:,.0f} bytes a sighting, {decision:,.0f} bytes a decision")
    first, middle, last = record.moments[0], record.moments[4], record.moments[-1]
    is_flat = True
    for since, name in ((first, "first tenth"), (middle, "first half")):
        grown = last.memory_mib - since.memory_mib
        own = (sighting * (last.added - since.added) + decision * (last.decided - since.decided)) / 2**20
        is_flat &= grown - own <= MOST_GROWTH_MIB[name]
        print(
            f"  after the {name}: {grown:+.1f} MiB, of which the gallery {own:.1f}; beyond that {grown - own:+.1f} MiB "
            f"in {last.requests - since.requests:,} requests (limit {MOST_GROWTH_MIB[name]:.0f})"
        )
    if first.seconds < WARM_SECONDS:
        print("memory is not judged: the load was too short")
        return True
    print(f"memory is {'flat' if is_flat else 'not flat'}")
    return is_flat


def report(record: Record, gallery: Path) -> bool:
    """Print what the clients saw, and whether everything that was acknowledged is there."""
    everything = [value for values in record.seconds.values() for value in values]
    print(f"{len(everything) / record.taken:,.1f} requests/s")
    for kind, values in {"all": everything, **record.seconds}.items():
        shown = "  ".join(f"p{point} {1000 * np.percentile(values, point):,.0f} ms" for point in (50, 95, 99))
        print(f"  {kind:<7} {len(values):>7,}  {shown}")
    opened = Gallery.open(gallery)
    there = {sighting.number for sighting in opened.sightings()}
    decided = {decision.event for decision in opened.decisions()}
    lost = len(set(record.added) - there) + len(set(record.decided) - decided)
    twice = len(record.added) - len(set(record.added)) + len(record.decided) - len(set(record.decided))
    problems = opened.check().problems
    print(f"errors {len(record.errors):,}, lost writes {lost:,}, given twice {twice:,}, check: {problems or 'sound'}")
    for text in sorted(set(record.errors))[:5]:
        print(f"  {text}")
    return not record.errors and not lost and not twice and not problems


def main() -> int:
    """Measure, and return 0 where nothing failed, nothing was lost, and memory stayed flat."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--sightings", type=int, default=2000)
    parser.add_argument("--writes", type=float, default=0.2, help="share of the requests, a quarter of them decisions")
    parser.add_argument("--weights")
    given = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="omnireid-service-") as place:
        gallery, crops = make_gallery(Path(place), given.sightings, given.weights)
        flags = [] if given.weights is None else ["--weights", given.weights]
        with serving(gallery, Path(place) / "kept", *flags) as served:
            print(
                f"{given.clients} clients, {given.seconds:.0f} s, {len(crops):,} sightings in the gallery:", flush=True
            )
            record = load(served, crops, given.clients, given.seconds, given.writes)
        is_flat = report_memory(record, gallery)
        return 0 if report(record, gallery) and is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
