"""Weights that ship inside the package: small artefacts, found by name, and the one that is used by default."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from omnireid.errors import WeightsNotFoundError
from omnireid.weights.artefact import WeightsMetadata
from omnireid.weights.published import WeightsScores

DEFAULT_WEIGHTS = "osnet_retail_x0_25.general"
"""Name of the shipped weights that are used by default: the network, a dot, and what they were learned from or for."""


def weights_folder() -> Path:
    """The folder where the package keeps its weights. It is missing in a build that ships none."""
    return Path(str(files("omnireid").joinpath("weights")))


def shipped_weights() -> dict[str, Path]:
    """The weights that ship with this build: name to artefact, sorted by name. Empty if it ships none."""
    # A name that starts with a dot is a file still being written.
    found = (path for path in weights_folder().glob("*.safetensors") if not path.name.startswith("."))
    return {path.name.removesuffix(".safetensors"): path for path in sorted(found)}


def find_shipped(name: str) -> Path | None:
    """Look up the artefact that ships under `name`; None if there is none.

    Raises:
        WeightsNotFoundError: `name` is the default, but this build does not ship it.
    """
    shipped = shipped_weights()
    if name == DEFAULT_WEIGHTS and name not in shipped:
        raise WeightsNotFoundError(
            f"This build of omnireid ships no default weights: {weights_folder()} has no {name}.safetensors. Name "
            "weights of your own (--weights, or load_embedder(weights)), or reinstall omnireid."
        )
    return shipped.get(name)


def shipped_scores(name: str, metadata: WeightsMetadata) -> tuple[WeightsScores, ...]:
    """The scores of shipped weights on each data set that their artefact knows of.

    The artefact calls them ``market1501.rank1`` and ``market1501.mean_average_precision``, for example. The data set
    that the weights are named after comes first, if it is one; the others follow by name.
    """
    own = name.rpartition(".")[2]
    datasets = {metric.rpartition(".")[0] for metric in metadata.metrics if metric.endswith(".rank1")}
    return tuple(
        WeightsScores(
            dataset,
            metadata.distance,
            metadata.metrics[f"{dataset}.rank1"],
            metadata.metrics.get(f"{dataset}.mean_average_precision"),
        )
        for dataset in sorted(datasets, key=lambda dataset: (dataset != own, dataset))
    )
