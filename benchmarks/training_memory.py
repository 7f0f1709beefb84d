"""Claim: training is faster in a process that keeps the memory it frees, as `omnireid train` lets it.

Each way runs in a process of its own with one thread, turn about: forward and backward of osnet_x0_25 on 32 crops.
"default" is the allocator as glibc sets it, "kept" is what `omnireid train` sets. Beside the ratio stand the memory
that the system mapped and cleared for each step, and the most memory that the process had.

Run: python benchmarks/training_memory.py [ROUNDS]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

from omnireid.machine import describe

SIZES = {"128x64": (128, 64), "256x128": (256, 128)}
STEPS = 10
PROGRAM = """
import json, os, resource, sys, time
if sys.argv[1] == "kept":
    from omnireid.memory import keep_memory
    keep_memory(os.environ)
import torch
from omnireid import create_model
torch.set_num_threads(1)
height, width, steps = map(int, sys.argv[2:])
network = create_model("osnet_x0_25", 50).to(memory_format=torch.channels_last).train()
optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
images = torch.randn(32, 3, height, width).contiguous(memory_format=torch.channels_last)
def step():
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network.classifier(network(images)), torch.arange(32)).backward()
    optimiser.step()
for _ in range(2):
    step()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before, started = faults(), time.perf_counter()
for _ in range(steps):
    step()
seconds = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "rate": 32 * steps / seconds,
    "mapped": (usage.ru_minflt - before) * resource.getpagesize() / steps / 2**20,
    "peak": usage.ru_maxrss / 2**10,
}))
"""


def measure(way: str, size: tuple[int, int]) -> dict[str, float]:
    """Crops a second, MiB that the system mapped for a step, and the peak memory of the process in MiB."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("MALLOC_") and name != "GLIBC_TUNABLES"
    }
    command = [sys.executable, "-c", PROGRAM, way, *map(str, size), str(STEPS)]
    done = subprocess.run(command, env=inherited, capture_output=True, text=True, check=True)
    values: dict[str, float] = json.loads(done.stdout)
    return values


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for name, size in SIZES.items():
        found: dict[str, list[dict[str, float]]] = {"default": [], "kept": []}
        for _ in range(rounds):
            for way, values in found.items():
                values.append(measure(way, size))
        for way, values in found.items():
            rates = [value["rate"] for value in values]
            print(
                f"{name:8} {way:8} {statistics.median(rates):6.1f} crops/s ({min(rates):.1f}–{max(rates):.1f}), "
                f"{statistics.median(value['mapped'] for value in values):7.1f} MiB mapped a step, "
                f"peak {max(value['peak'] for value in values):5.0f} MiB"
            )
        ratios = [kept["rate"] / plain["rate"] for kept, plain in zip(found["kept"], found["default"], strict=True)]
        print(
            f"{name:8} ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f} over {rounds} rounds)"
        )
    print(describe())


if __name__ == "__main__":
    main()
