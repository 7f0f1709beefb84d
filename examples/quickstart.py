"""The whole job on people nobody has to ask: draw them, look them over, embed, score, show.

Run by ``make quickstart``. The network is untrained, and everything says so: its
scores are what random weights give, the floor that training starts from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from omnireid import __version__, create_model
from omnireid.cli import main as omnireid
from omnireid.embedding.artefact import WeightsMetadata, write_artefact

MODEL = "osnet_x0_25"


def write_untrained(path: Path) -> None:
    """Write a network with random weights as an artefact that says what it is."""
    tensors = {name: tensor.numpy() for name, tensor in create_model(MODEL).state_dict().items()}
    metadata = WeightsMetadata(
        MODEL,
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
    """Draw a data set into `folder`, score an untrained network on it, and leave pictures to open."""
    people, weights = folder / "people", folder / "untrained.safetensors"
    run("synthesize", str(people), "--seed", "0", "--sheet", str(folder / "people.png"))
    run("doctor", str(people))
    write_untrained(weights)
    run("inspect", str(weights))
    results = ("--json", str(folder / "scores.json"), "--picture", str(folder / "ranked.png"))
    run("evaluate", "--weights", str(weights), "--data", str(people), *results)
    print(f"\nThe network is untrained: these scores are its floor, not its worth. Open {folder / 'ranked.png'}")


if __name__ == "__main__":
    quickstart(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart"))
