"""The weights inside the package: small artefacts that are found by name, and the one that is used by default."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from omnireid.errors import WeightsNotFoundError

DEFAULT_WEIGHTS = "osnet_x0_25.market1501"
"""The shipped weights that are used where none are named: the variant, a dot, the training data."""


def weights_folder() -> Path:
    """Where the package keeps its weights; the folder is missing in a build that ships none."""
    return Path(str(files("omnireid").joinpath("weights")))


def shipped_weights() -> dict[str, Path]:
    """The weights that ship with this build: name to artefact, sorted by name; empty where it ships none."""
    # A name that starts with a dot is a file still being written.
    found = (path for path in weights_folder().glob("*.safetensors") if not path.name.startswith("."))
    return {path.name.removesuffix(".safetensors"): path for path in sorted(found)}


def find_shipped(name: str) -> Path | None:
    """The artefact that ships under `name`; None where there is none.

    Raises:
        WeightsNotFoundError: `name` is the default, and this build ships no weights under it.
    """
    shipped = shipped_weights()
    if name == DEFAULT_WEIGHTS and name not in shipped:
        raise WeightsNotFoundError(
            f"This build of omnireid ships no default weights: {weights_folder()} has no {name}.safetensors. Name "
            "weights of your own (--weights, or load_embedder(weights)), or reinstall omnireid."
        )
    return shipped.get(name)
