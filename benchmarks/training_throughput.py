"""Claim: training processes 2.5 times the crops per second of the customary loop, and its data path is no bottleneck.

The baseline alternates with ours in the same run. Two worker processes decode
every crop with Pillow each time it is used, and resize, crop, flip, erase and
normalise it one by one. One eager process with all threads trains in float32 on
NCHW batches, with cross-entropy and SGD on the same network and batch size. Ours
is ``torchrun --standalone --nproc-per-node 2 -m omnireid train`` on cached crops,
with one thread per rank, bfloat16 and channels last. Both rates are medians over
windows of steps, without the first window. The data path alone (look-ups, plan,
augmentation, normalisation) is timed in one process on one thread, beside the
step it feeds.

Run: python benchmarks/training_throughput.py [--tiny] [DATA]   (default ../shared/data/Market-1501-v15.09.15)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from omnireid import create_model
from omnireid.data.training_data import TrainingData, load_training_data
from omnireid.images.pixel_cache import open_pixel_cache
from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD
from omnireid.machine import describe, usable_cores
from omnireid.training.augmentation_plan import apply_plan
from omnireid.training.distributed import Ranks
from omnireid.training.feeding import Pixels, count_repeats, feed
from omnireid.training.learner import Learner
from omnireid.training.named_recipes import LAPTOP
from omnireid.training.precision import choose_precision
from omnireid.training.recipes import Recipe
from omnireid.training.samplers import RandomSampler

MARKET = Path(__file__).resolve().parents[2] / "shared/data/Market-1501-v15.09.15"
BATCH = 64
CORES = usable_cores()
CPU = torch.device("cpu")


class CustomaryCrops(TorchDataset[tuple[Tensor, int]]):
    """One crop at a time: decode, resize, augment, normalise."""

    def __init__(self, data: TrainingData, height: int, width: int) -> None:
        self.data, self.height, self.width = data, height, width

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        rng = np.random.default_rng()
        height, width = self.height, self.width
        with Image.open(self.data.paths[index]) as opened:
            image = opened.convert("RGB")
        if rng.random() < 0.5:
            tall, wide = round(height * 1.125), round(width * 1.125)
            top, left = rng.integers(tall - height + 1), rng.integers(wide - width + 1)
            image = image.resize((wide, tall), Image.Resampling.BILINEAR)
            image = image.crop((int(left), int(top), int(left) + width, int(top) + height))
        else:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        pixels = (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
        if rng.random() < 0.3:
            box = rng.integers((height // 8, width // 8), (height // 2, width // 2))
            corner = rng.integers((0, 0), (height, width) - box)
            pixels[:, corner[0] : corner[0] + box[0], corner[1] : corner[1] + box[1]] = 0
        return pixels, int(self.data.identities[index])


def customary(data: TrainingData, height: int, width: int, steps: int) -> float:
    """Crops a second of the customary loop: the median over windows of ten steps."""
    torch.set_num_threads(CORES)
    loader = DataLoader(CustomaryCrops(data, height, width), BATCH, shuffle=True, num_workers=CORES, drop_last=True)
    model = create_model("osnet_x0_25", data.identity_count).train()
    assert model.classifier is not None
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    moments = []
    for step, (images, identities) in enumerate(_endless(loader)):
        loss = torch.nn.functional.cross_entropy(model.classifier(model(images)), identities, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        float(loss.detach())  # what every such loop prints
        moments.append(time.perf_counter())
        if step == steps:
            break
    return _median_rate(moments)


def _endless(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def _median_rate(moments: list[float], window: int = 10) -> float:
    marks = moments[window::window] if len(moments) > 3 * window else moments[1:]
    width = window if len(moments) > 3 * window else 1
    return statistics.median(width * BATCH / (after - before) for before, after in pairwise(marks))


def ours(root: Path, recipe: Recipe, steps: int, store: Path) -> float:
    """Crops a second of ``omnireid train`` in two ranks, from its own log."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(CORES)]
        words += ["-m", "omnireid", "train", "laptop", "--resolutions", recipe.resolutions[0], "--threads", "1"]
        words += ["--device", "cpu", "--data", str(root), "--output", str(output), "--log-every", "10"]
        words += ["--pixel-cache-folder", str(store)]
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        rates: list[float] = []
        while process.poll() is None and len(rates) < steps:
            time.sleep(0.5)
            log = output / "log.jsonl"
            if log.exists():
                entries = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
                rates = [entry["images_per_second"] for entry in entries if entry["kind"] == "step"][10:]
        process.terminate()
        _, message = process.communicate(timeout=120)
        if not rates:
            raise SystemExit(message.decode())
        return statistics.median(rates)


def data_path(data: TrainingData, recipe: Recipe, steps: int, store: Path) -> tuple[float, float]:
    """Crops a second of the data path alone, and of the steps it feeds, with one thread."""
    torch.set_num_threads(1)
    resolution = recipe.timetable.resolutions[0]
    height, width = resolution.height, resolution.width
    crops = open_pixel_cache(data.paths, height=height, width=width, folder=store, progress=False)
    pixels = Pixels(crops.pixels, CPU)
    order = RandomSampler(len(data), BATCH, 0).batches(0)[:steps]
    network = create_model("osnet_x0_25")
    learner = Learner(recipe, network, data.identity_count, steps_an_epoch=steps, device=CPU, ranks=Ranks())
    learner.begin_epoch(0)
    moments: list[list[float]] = [[], []]
    for learns in (0, 1):
        batches = feed(
            pixels,
            data.identities,
            recipe.augmentation,
            order,
            count_repeats(order),
            seed=0,
            epoch=0,
            images_seen=0,
            images_a_step=BATCH,
            device=CPU,
        )
        for step, batch in enumerate(batches):
            if learns:
                learner.step(batch, step)
            else:
                apply_plan(batch.images, batch.plan, batch.patch_images, mean=IMAGENET_MEAN, std=IMAGENET_STD)
            moments[learns].append(time.perf_counter())
    return _median_rate(moments[0]), _median_rate(moments[1])


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--tiny"]
    tiny = "--tiny" in sys.argv
    root = Path(words[0]) if words else MARKET
    data = load_training_data([root])
    steps, rounds = (4, 1) if tiny else (40, 2)
    for height, width in ((128, 64),) if tiny else ((128, 64), (256, 128)):
        precision = choose_precision(LAPTOP.precision, torch.device("cpu"))
        recipe = replace(LAPTOP, epochs=1, warmup_epochs=0, resolutions=(f"{height}x{width}@0",), precision=precision)
        with tempfile.TemporaryDirectory() as store:
            open_pixel_cache(data.paths, height=height, width=width, folder=Path(store), progress=False)
            theirs, mine = [], []
            for _ in range(rounds):
                theirs.append(customary(data, height, width, steps))
                mine.append(ours(root, recipe, steps, Path(store)))
            path, step = data_path(data, recipe, steps, Path(store))
        ratios = [b / a for a, b in zip(theirs, mine, strict=True)]
        print(
            f"{height}×{width}: customary {statistics.median(theirs):.0f} crops/s, ours {statistics.median(mine):.0f}; "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f} over {rounds} rounds); "
            f"data path alone {path:.0f} crops/s on one thread, {path / step:.1f} times the step it feeds ({step:.0f})"
        )
    print(describe().text())


if __name__ == "__main__":
    main()
