"""Claim: roboflow's reid gives our embeddings of a folder that we wrote; with other pixels they are others.

The baseline is omnireid on the same drawn crops in ONNX Runtime. reid reads the crops from their files, once as the
config says and once in each of the ways that omnireid refuses. omnireid reads them with their channels swapped, too.

Run, where reid is installed (make reid): .venv-reid/bin/python benchmarks/reid_folder.py
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omnireid import RuntimeOptions, load_embedder, synthesize
from omnireid.machine import describe
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.reid_folder import write_reid_folder
from omnireid.weights.shipped import DEFAULT_WEIGHTS
from omnireid.weights.source import read_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "golden"))


def line(name: str, found: Any, expected: Any) -> str:
    lengths = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
    cosines = (found * expected).sum(axis=1) / (lengths[0] * lengths[1])
    error = float((np.linalg.norm(found - expected, axis=1) / lengths[1]).max())
    return f"{name:<28} cosine {cosines.mean():.4f}, smallest {cosines.min():.4f}   largest relative error {error:.1e}"


def main(folder: Path, weights: str) -> None:
    load: Any = import_module("reid_keys").load_package().ReIDModel.from_pretrained
    people = synthesize(folder / "people", identities=24, cameras=4, per_camera=1, seed=0)
    crops = [Image.open(path).convert("RGB") for path in sorted(people.rglob("*.jpg"))]
    paths = []
    for number, crop in enumerate(crops):  # without the feet, so that the proportions are not those of the input
        paths.append(str(folder / f"{number}.png"))
        crop.crop((0, 0, crop.width, crop.height * 3 // 4)).save(paths[-1])
    model = str(folder / "model")
    write_reid_folder(Path(model), *read_weights(resolve_weights(weights)))
    embedder = load_embedder(model, RuntimeOptions(runtime="onnxruntime", device="cpu"))
    expected = embedder.embed(paths)
    usual = load(model, device="cpu").preprocessing
    others = {"as the config says": {}, "bicubic": {"interpolation": "bicubic"}}
    others |= {"nearest": {"interpolation": "nearest"}, "letterbox": {"resize_mode": "letterbox"}}
    print(f"{weights}, {len(paths)} drawn crops of {Image.open(paths[0]).size}")
    for name, changed in others.items():
        theirs = load(model, preprocessing=replace(usual, **changed), device="cpu")
        print(line(f"reid, {name}", theirs.extract_embeddings_from_paths(paths), expected))
    swapped = [np.asarray(Image.open(path))[:, :, ::-1] for path in paths]
    print(line("channels swapped", embedder.embed(swapped), expected))
    print(line("another crop", np.roll(expected, 1, axis=0), expected))
    print(describe().text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(made), sys.argv[1] if len(sys.argv) > 1 else DEFAULT_WEIGHTS)
