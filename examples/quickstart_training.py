"""Train a network on drawn people: score one that knows nothing, train it, and score it again.

Run by ``make quickstart-training``; minutes on two cores. The data set's test identities are never trained on.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from omnireid import RECIPES, create_model

RECIPE = "quick"


def run(*words: str) -> None:
    """Run one command as a user would type it, and stop if it fails."""
    print(f"\n$ omnireid {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "omnireid", *words], check=False).returncode
    if code:
        sys.exit(code)


def write_untrained(folder: Path) -> Path:
    """Write the recipe's network with random weights, as an artefact that says what it is."""
    recipe = RECIPES[RECIPE].recipe
    size = recipe.timetable.resolutions[-1]
    checkpoint, untrained = folder / "untrained.pth", folder / "untrained.safetensors"
    torch.save(create_model(recipe.model).state_dict(), checkpoint)
    description = ("--training-data", "nothing: random weights", "--licence", "Apache-2.0")
    shape = ("--architecture", recipe.model, "--height", str(size.height), "--width", str(size.width))
    run("convert", str(checkpoint), *shape, *description, "--output", str(untrained))
    return untrained


def quickstart(folder: Path) -> None:
    """Draw a data set into `folder`, train on half of its people, and show what that did for the other half."""
    people, trained = folder / "training-people", folder / "run"
    run("synthesize", str(people), "--seed", "0")
    run("doctor", str(people))
    untrained = write_untrained(folder)
    run("evaluate", "--weights", str(untrained), "--data", str(people), "--json", str(folder / "before.json"))
    shutil.rmtree(trained, ignore_errors=True)  # of an earlier quickstart
    run("train", RECIPE, "--data", str(people), "--output", str(trained), "--pixel-cache-folder", str(folder / "cache"))
    weights = ("--weights", str(trained / "last.safetensors"))
    results = ("--json", str(folder / "after.json"), "--picture", str(folder / "trained.png"))
    run("evaluate", *weights, "--data", str(people), *results)
    before, after = (json.loads((folder / f"{name}.json").read_text())["rank1"] for name in ("before", "after"))
    print(f"\nOn people it never saw, rank-1 went from {before:.3f} untrained to {after:.3f} trained.")
    print("Open these files:")
    print(f"  {folder / 'trained.png'}   what the trained network found")
    print(f"  {trained / 'curves.png'}   loss, learning rate and scores over the run")


if __name__ == "__main__":
    quickstart(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart"))
