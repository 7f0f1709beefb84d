"""Claim: whenever the service is killed, every write that it acknowledged is there.

`omnireid serve` runs in a process of its own; eight clients add crops that were never there and take decisions, and
write down what was acknowledged. The service is killed (SIGKILL) at random moments of the two seconds after its first
acknowledgement, again and again on the same gallery. After each kill the gallery must be sound, and hold every
acknowledged sighting, with its picture, and every acknowledged decision. The test in tests/commands/test_serve.py does
this once. Expect 10 to 15 minutes for 100 kills, most of them for starting the process.

Run: python benchmarks/service_kills.py [KILLS]
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from omnireid import Gallery, OmnireidError, ServiceClient
from omnireid.machine import describe
from service_load import Served, make_gallery, serving, unique

CLIENTS = 8
LONGEST_LIFE_S = 2.0


def write_until_killed(served: Served, crops: list[bytes], seed: int, added: list[int], decided: list[int]) -> None:
    """Add and decide until the service is gone."""
    rng = random.Random(seed)
    with ServiceClient(served.address) as service:
        while True:
            try:
                if rng.random() < 0.8:
                    new = unique(rng.choice(crops), rng.getrandbits(48))
                    added.append(service.add_sighting(new, keep_all=True).sighting.number)
                else:
                    chosen = rng.randrange(1, len(crops) + 1)
                    decided.append(service.assign([chosen], f"person {rng.randrange(9)}").event)
            except OmnireidError:
                return


def check(gallery: Path, added: list[int], decided: list[int]) -> None:
    """Check that everything acknowledged is there.

    Raises:
        AssertionError: something is lost, given twice or damaged.
    """
    opened = Gallery.open(gallery)
    opened.finish_decisions()  # as a service does first when it is started again
    assert opened.check().problems == (), opened.check().problems
    there = {sighting.number: Path(sighting.path) for sighting in opened.sightings()}
    assert len(added) == len(set(added)), "a number was given twice"
    assert set(added) <= set(there), f"lost sightings: {sorted(set(added) - set(there))[:5]}"
    assert all(there[number].is_file() for number in added), "a picture is lost"
    events = {decision.event for decision in opened.decisions()}
    assert len(decided) == len(set(decided)), "an event was given twice"
    assert set(decided) <= events, f"lost decisions: {sorted(set(decided) - events)[:5]}"


def main(kills: int) -> None:
    """Kill, check, and count."""
    print(describe())
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    added: list[int] = []
    decided: list[int] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="omnireid-service-kills-") as place:
        gallery, crops = make_gallery(Path(place), 80, None)
        for kill in range(kills):
            with serving(gallery, Path(place) / "kept", "--runtime", "onnxruntime") as served:
                threads = [
                    threading.Thread(
                        target=write_until_killed, args=(served, crops, 1000 * kill + number, added, decided)
                    )
                    for number in range(CLIENTS)
                ]
                for thread in threads:
                    thread.start()
                before = len(added) + len(decided)
                while len(added) + len(decided) == before:
                    time.sleep(0.002)
                time.sleep(moments.uniform(0.0, LONGEST_LIFE_S))
                served.process.kill()
                for thread in threads:
                    thread.join()
            check(gallery, added, decided)
    taken = time.perf_counter() - began
    print(
        f"{kills:,} kills in {taken:.0f} s (seed {seed}); acknowledged and there: {len(added):,} sightings, "
        f"{len(decided):,} decisions; lost: 0"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
