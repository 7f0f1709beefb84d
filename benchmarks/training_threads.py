"""Claim: the default number of threads and their short waiting keep training from collapsing on a busy machine.

Each way runs in a process of its own, turn about: 16 steps of osnet_x0_25 on 32 crops of 96×48, forward and backward.
"default" is torch's own choice (a thread a core, whose OpenMP threads spin for milliseconds while they wait for each
other); "short" is the same number of threads with the waiting that `omnireid train` sets; "one" is one thread. On a
quiet machine all of them should be near each other, and several threads ahead; on a busy one "default" collapses.

Run: python benchmarks/training_threads.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from omnireid.machine import describe, usable_cores
from omnireid.training.threads import SHORT_WAITING

STEPS = """
import sys, time, torch
from omnireid import create_model
torch.set_num_threads(int(sys.argv[1]))
network = create_model("osnet_x0_25", 50).to(memory_format=torch.channels_last).train()
optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
images = torch.randn(32, 3, 96, 48).contiguous(memory_format=torch.channels_last)
def step():
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network.classifier(network(images)), torch.arange(32)).backward()
    optimiser.step()
step()
wall, processor = time.perf_counter(), time.process_time()
for _ in range(16):
    step()
print(time.perf_counter() - wall, time.process_time() - processor)
"""
WAYS = {"one": (1, {}), "short": (usable_cores(), SHORT_WAITING), "default": (usable_cores(), {})}


def measure(threads: int, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and processor seconds of 16 steps."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    command = [sys.executable, "-c", STEPS, str(threads)]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    wall, processor = map(float, done.stdout.split())
    return wall, processor


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, (threads, environment) in WAYS.items():
            times[name].append(measure(threads, dict(environment)))
    for name, (threads, _) in WAYS.items():
        walls = [wall for wall, _ in times[name]]
        processor = statistics.median(processor for _, processor in times[name])
        print(
            f"{name:8} {threads} thread(s): {statistics.median(walls):6.2f} s for 16 steps "
            f"({min(walls):.2f}–{max(walls):.2f} over {rounds} rounds), {processor:.2f} s of processor time"
        )
    print(describe())


if __name__ == "__main__":
    main()
