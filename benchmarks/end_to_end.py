"""Claim: from JPEG files to a Parquet table, omnireid is 6 times as fast as the customary loop.

The baseline alternates with ours in the same run. Pillow opens, converts and
resizes one crop at a time in the main process. The crops are converted to float,
normalised and stacked into batches of 32 for eager PyTorch (float32, NCHW, all
cores), and pyarrow writes the table at the end. Ours is `embed_to_parquet`, once
with the runtime that ``auto`` takes (tried and remembered before the clock starts)
and once with the fastest in float32. All files were read once before. The baseline
embeds the first 1,024 crops of Market-1501's query folder, ours all 3,368.

Run: python benchmarks/end_to_end.py [--tiny] [WEIGHTS FOLDER]
(default: the public osnet_x0_25 and Market-1501's queries in ../shared)
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from omnireid.embedding.embedder import Embedder, load_embedder
from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.parity import compare_embeddings
from omnireid.embedding.tables import read_embeddings
from omnireid.embedding.torch_runtime import load_weights
from omnireid.machine import describe, usable_cores
from omnireid.types import Crops, FloatArray

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = SHARED / "weights/osnet_x0_25_market1501.pth"
FOLDER = SHARED / "data/Market-1501-v15.09.15/query"
BATCH, ROUNDS, CUSTOMARY, TARGET = 32, 3, 1024, 6.0


def customary_loop(weights: Path) -> Callable[[list[Path], Path], FloatArray]:
    """The loop, its network loaded."""
    model, metadata = load_weights(weights)
    size = metadata.preprocessing
    mean, std = torch.tensor(size.mean).view(3, 1, 1), torch.tensor(size.std).view(3, 1, 1)

    def image_of(path: Path) -> torch.Tensor:
        with Image.open(path) as file:
            image = file.convert("RGB").resize((size.width, size.height), Image.Resampling.BILINEAR)
        return (torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255) - mean) / std

    @torch.inference_mode()
    def run(paths: list[Path], output: Path) -> FloatArray:
        parts = []
        for start in range(0, len(paths), BATCH):
            images = torch.stack([image_of(path) for path in paths[start : start + BATCH]])
            parts.append(model(images).numpy())
        embeddings = np.concatenate(parts)
        pq.write_table(pa.table({"path": [str(path) for path in paths], "embedding": list(embeddings)}), output)
        return embeddings

    return run


def open_ours(weights: Path) -> dict[str, Embedder]:
    """The embedder that ``auto`` gives, and the fastest in float32; one where they are the same."""
    auto = load_embedder(weights, RuntimeOptions(device="cpu"))
    print(auto.choice)
    found = {f"auto ({auto.runtime} {auto.precision})": auto}
    if auto.precision != "fp32":
        fastest = load_embedder(weights, RuntimeOptions(precision="fp32", device="cpu"))
        print(fastest.choice)
        found[f"{fastest.runtime} fp32"] = fastest
    return found


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    tiny = "--tiny" in sys.argv
    words = [Path(word) for word in sys.argv[1:] if not word.startswith("-")] or [WEIGHTS, FOLDER]
    weights, folder = words
    paths = sorted(folder.rglob("*.jpg"))[: 64 if tiny else None]
    if not paths:
        raise SystemExit(f"No .jpg in {folder}. Give WEIGHTS and a FOLDER of crops.")
    few = paths[:CUSTOMARY]
    torch.set_num_threads(usable_cores())
    customary, ours = customary_loop(weights), open_ours(weights)
    before: list[float] = []
    after: dict[str, list[float]] = {name: [] for name in ours}
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "crops.parquet"
        reference = customary(few[: 2 * BATCH], output)
        for name, embedder in ours.items():  # files read once, all code loaded
            embed_to_parquet(embedder, Crops(tuple(paths)), Path(place) / "warm.parquet")
            found = read_embeddings(Path(place) / "warm.parquet").embeddings[: len(reference)]
            parity = compare_embeddings(reference, found)
            print(f"{name}: smallest cosine {parity.smallest:.5f} with the customary loop, mean {parity.mean:.5f}")
        for number in range(1 if tiny else ROUNDS):
            before.append(len(few) / seconds_of(lambda: customary(few, output)))
            for name, embedder in ours.items():
                # A table that is there already would be kept: every round writes its own.
                table = Path(place) / f"{number}-{embedder.precision}.parquet"
                took = seconds_of(lambda e=embedder, t=table: embed_to_parquet(e, Crops(tuple(paths)), t))  # type: ignore[misc]
                after[name].append(len(paths) / took)
    print(f"{'customary loop':<26}{statistics.median(before):>8.1f} crops/s  ({len(few):,} files)")
    for name, rates in after.items():
        ratios = [rate / one for rate, one in zip(rates, before, strict=True)]
        ratio = statistics.median(ratios)
        print(
            f"{name:<26}{statistics.median(rates):>8.1f} crops/s  ({len(paths):,} files)  ratio {ratio:.2f} "
            f"({min(ratios):.2f}–{max(ratios):.2f}); target {TARGET:g}: {'met' if ratio >= TARGET else 'MISSED'}"
        )
    print(describe().text())


if __name__ == "__main__":
    main()
