"""Claim: on an NVIDIA GPU no step waits for the host, and each part of the path pays: bfloat16, layout, compiling.

The baseline, in the same run, is the same network and loss with batches in NCHW,
float32 (TF32 off) and eager mode. Three variants follow: channels last in bfloat16;
the same with torch.compile; and that with the crops in pinned host memory instead
of on the GPU. The crops are random, because only speed is measured.

Run: python benchmarks/training_gpu.py [--tiny]   (--tiny rehearses a few steps on any device)
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import torch

from omnireid import create_model
from omnireid.machine import describe
from omnireid.training import feeding
from omnireid.training.distributed import Ranks
from omnireid.training.feeding import Pixels, count_repeats, feed
from omnireid.training.learner import Learner
from omnireid.training.named_recipes import SPEEDRUN
from omnireid.training.recipes import Recipe
from omnireid.training.samplers import RandomSampler

TINY = "--tiny" in sys.argv
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MODEL, COUNT, IDENTITIES = ("osnet_x0_25", 256, 16) if TINY else ("osnet_x1_0", 12_936, 751)
HEIGHT, WIDTH = (32, 16) if TINY else (256, 128)
DEVICE_SHARE = feeding.DEVICE_SHARE
WARMUP, STEPS = (2, 4) if TINY else (20, 100)


def wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def baseline(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], batch: int) -> float:
    """Crops a second of NCHW float32 eager steps on batches that are on the device already."""
    model = create_model(MODEL, IDENTITIES).to(DEVICE).train()
    assert model.classifier is not None
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = torch.from_numpy(pixels[:batch]).to(DEVICE).permute(0, 3, 1, 2).float().div(255).contiguous()
    identities = torch.arange(batch, device=DEVICE) % IDENTITIES
    start = 0.0
    for step in range(WARMUP + STEPS):
        if step == WARMUP:
            wait()
            start = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(model.classifier(model(images)), identities, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    wait()
    return STEPS * batch / (time.perf_counter() - start)


def product(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], recipe: Recipe, *, compiled: bool, share: float
) -> float:
    """Crops a second of the product's own feed and learner."""
    feeding.DEVICE_SHARE = share
    identities = np.arange(COUNT) % IDENTITIES
    sampler = RandomSampler(COUNT, recipe.batch_size, 0)
    learner = Learner(
        recipe,
        create_model(MODEL),
        IDENTITIES,
        steps_an_epoch=len(sampler),
        device=DEVICE,
        ranks=Ranks(),
        compile_network=compiled,
    )
    learner.begin_epoch(0)
    order = np.concatenate([sampler.batches(epoch) for epoch in range(1 + (WARMUP + STEPS) // len(sampler))])
    order = order[: WARMUP + STEPS]
    start = 0.0
    batches = feed(
        Pixels(pixels, DEVICE),
        identities,
        recipe.augmentation,
        order,
        count_repeats(order),
        seed=0,
        epoch=0,
        images_seen=0,
        images_a_step=recipe.batch_size,
        device=DEVICE,
    )
    for step, batch in enumerate(batches):
        if step == WARMUP:
            wait()
            start = time.perf_counter()
        if DEVICE.type == "cuda" and step > WARMUP:
            torch.cuda.set_sync_debug_mode("error")  # a wait inside the step ends the benchmark
        learner.step(batch, step)
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    wait()
    return STEPS * recipe.batch_size / (time.perf_counter() - start)


def main() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for batch in (8,) if TINY else (64, 256):
        recipe = replace(SPEEDRUN, resolutions=(f"{HEIGHT}x{WIDTH}@0",), batch_size=batch)
        base = baseline(pixels, batch)
        print(f"batch {batch}: {MODEL} {HEIGHT}×{WIDTH} on {DEVICE}: NCHW fp32 eager {base:.0f} crops/s", flush=True)
        for name, compiled, share in (
            ("bf16 channels last, crops on the device", False, DEVICE_SHARE),
            ("  + torch.compile", True, DEVICE_SHARE),
            ("  + crops in host memory", True, 0.0),
        ):
            if TINY and compiled:
                continue  # minutes of compiling on a CPU
            rate = product(pixels, recipe, compiled=compiled, share=share)
            print(f"  {name}: {rate:.0f} crops/s, {rate / base:.2f} times", flush=True)
    print("(The baseline neither looks up nor augments its crops.)")
    print(torch.cuda.get_device_name() if DEVICE.type == "cuda" else "no GPU: a rehearsal", "torch", torch.__version__)
    print(describe().text())


if __name__ == "__main__":
    main()
