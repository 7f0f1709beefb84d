"""Claim: loading denormal weights as 0 makes a checkpoint faster and changes no embedding.

The baseline is the same checkpoint with its denormal weights, in the same run.

Run: python benchmarks/denormals.py ../shared/weights/osnet_x0_25_market1501.pth
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch

from omnireid.embedding.torch_runtime import load_weights
from omnireid.machine import describe
from omnireid.models.backbone import Backbone
from omnireid.models.zoo import ARCHITECTURES
from omnireid.weights.checkpoint_file import read_checkpoint

BATCH, RUNS = 32, 7


@torch.no_grad()
def put_back(model: Backbone, path: Path, architecture: str) -> int:
    """Give the model the values of the file unchanged. Returns how many of them are denormal."""
    own_names, state = ARCHITECTURES[architecture].key_layout.own_names["torchreid"], model.state_dict()
    smallest = torch.finfo(torch.float32).tiny
    denormal = 0
    for key, stored in read_checkpoint(path).tensors.items():
        if stored.is_float and own_names.get(key, key) in state:
            tensor = torch.from_numpy(stored.as_float32())
            denormal += int(((tensor.abs() < smallest) & (tensor != 0)).sum())
            state[own_names.get(key, key)].copy_(tensor)
    return denormal


@torch.inference_mode()
def rate(model: Backbone, images: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Median crops a second, and the embeddings."""
    embeddings = model(images)
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        model(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds), embeddings


def main(path: Path) -> None:
    network, metadata = load_weights(path)
    model = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(BATCH, 3, 256, 128, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    as_loaded, embeddings = rate(model, images)
    denormal = put_back(model, path, metadata.architecture)
    as_stored, others = rate(model, images)
    print(f"{path.name}: {denormal} denormal values")
    print(f"as stored  {as_stored:7.1f} crops/s")
    print(f"as loaded  {as_loaded:7.1f} crops/s   ratio {as_loaded / as_stored:.2f}")
    print(f"largest difference of an embedding value: {(embeddings - others).abs().max().item():g}")
    print(describe().text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
