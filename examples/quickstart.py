"""The whole job on people nobody has to ask: draw them, score a network that knows nothing, train it, score it again.

Run by ``make quickstart``. The data set's test identities are never trained on.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from omnireid import __version__, create_model
from omnireid.cli import main as omnireid
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata, write_artefact

MODEL = "osnet_x0_25"
HEIGHT, WIDTH = 96, 48
"""The input size of the recipe ``quick``, for the untrained network too."""


def write_untrained(path: Path) -> None:
    """Write a network with random weights as an artefact that says what it is."""
    model = create_model(MODEL)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    metadata = WeightsMetadata(
        MODEL,
        model.embedding_width,
        preprocessing=Preprocessing(HEIGHT, WIDTH),
        training_data="nothing: random weights, an untrained network",
        licence="Apache-2.0",
        origin=f"examples/quickstart.py, omnireid {__version__}",
    )
    write_artefact(path, tensors, metadata)


def run(*words: str) -> None:
    """Run one command as a user would type it, and stop where it fails."""
    print(f"\n$ omnireid {' '.join(words)}", flush=True)
    code = omnireid(words)
    if code:
        sys.exit(code)


def quickstart(folder: Path) -> None:
    """Draw a data set into `folder`, train on half of its people, and show what that did for the other half."""
    people, trained, untrained = folder / "people", folder / "run", folder / "untrained.safetensors"
    run("synthesize", str(people), "--seed", "0", "--sheet", str(folder / "people.png"))
    run("doctor", str(people))
    write_untrained(untrained)
    run("evaluate", "--weights", str(untrained), "--data", str(people), "--json", str(folder / "before.json"))
    shutil.rmtree(trained, ignore_errors=True)  # of an earlier quickstart
    run(
        "train", "quick", "--data", str(people), "--output", str(trained), "--pixel-cache-folder", str(folder / "store")
    )
    weights = ("--weights", str(trained / "last.safetensors"))
    results = ("--json", str(folder / "after.json"), "--picture", str(folder / "ranked.png"))
    run("evaluate", *weights, "--data", str(people), *results)
    before, after = (json.loads((folder / f"{name}.json").read_text())["rank1"] for name in ("before", "after"))
    print(f"\nOn people it never saw, rank-1 went from {before:.3f} untrained to {after:.3f} trained.")
    print(f"Open {folder / 'ranked.png'} (what was found) and {trained / 'curves.png'} (how it learned).")


if __name__ == "__main__":
    quickstart(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart"))
