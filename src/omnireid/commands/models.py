"""``omnireid models``: the variants, what each costs, and the weights that ship here or are known."""

from __future__ import annotations

import sys
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from omnireid.models.zoo import KNOWN_WEIGHTS, VARIANTS
from omnireid.weights.artefact import WeightsMetadata, read_metadata
from omnireid.weights.shipped import DEFAULT_WEIGHTS, shipped_weights


def models(*, json: bool = False) -> None:
    """List the networks by name, what each costs, and the weights that ship with omnireid or are known.

    Parameters are counted without a classifier, multiply-adds for one 256×128 image. Scores are on the test split of
    the training data: of shipped weights as measured here, of others as their authors published them; `omnireid
    evaluate` measures them on yours.

    Example: omnireid models --json

    Args:
        json: print JSON instead of tables.
    """
    if json:
        variants = [
            {"name": variant.name, "parameters": variant.parameters, "multiply_adds": variant.multiply_adds}
            for variant in VARIANTS.values()
        ]
        content = {
            "variants": variants,
            "shipped": [_shipped_json(name, path) for name, path in shipped_weights().items()],
            "weights": [asdict(weights) for weights in KNOWN_WEIGHTS.values()],
        }
        sys.stdout.write(dumps(content, indent=2) + "\n")
        return
    terminal = sys.stdout.isatty()
    # A pipe gets bare columns, wide enough that nothing wraps.
    console = Console(width=None if terminal else 160, highlight=False)
    style = box.SIMPLE_HEAD if terminal else None
    console.print(_variant_table(style))
    console.print()
    console.print(_shipped_table(style) if shipped_weights() else "No weights ship with this build of omnireid.")
    console.print()
    console.print(_weights_table(style))


def _variant_table(style: box.Box | None) -> Table:
    table = Table(box=style, title="Networks", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    table.add_column("known weights")
    for variant in VARIANTS.values():
        known = [weights.name for weights in KNOWN_WEIGHTS.values() if weights.architecture == variant.name]
        table.add_row(
            variant.name, f"{variant.parameters:,}", f"{variant.multiply_adds / 1e6:.1f} M", ", ".join(known) or "–"
        )
    return table


def _shipped_json(name: str, path: Path) -> dict[str, Any]:
    return {
        "name": name,
        "is_default": name == DEFAULT_WEIGHTS,
        "bytes": path.stat().st_size,
        **read_metadata(path).json(),
    }


def _shipped_table(style: box.Box | None) -> Table:
    table = Table(box=style, title="Weights that ship with omnireid", title_justify="left")
    table.add_column("name", no_wrap=True)
    for heading in ("size", "rank-1", "mAP"):
        table.add_column(heading, justify="right")
    for heading in ("distance", "licence", "default"):
        table.add_column(heading)
    for name, path in shipped_weights().items():
        metadata = read_metadata(path)
        table.add_row(
            name,
            f"{path.stat().st_size / 1e6:.2f} MB",
            _score(name, metadata, "rank1"),
            _score(name, metadata, "mean_average_precision"),
            metadata.distance,
            metadata.licence,
            "yes" if name == DEFAULT_WEIGHTS else "no",
        )
    return table


def _score(name: str, metadata: WeightsMetadata, score: str) -> str:
    """The score on the data set that the name ends in, which the artefact calls ``market1501.rank1`` for example."""
    value = metadata.metrics.get(f"{name.rpartition('.')[2]}.{score}")
    return "–" if value is None else f"{value:.1%}"


def _weights_table(style: box.Box | None) -> Table:
    table = Table(
        box=style, title="Weights that others published (scores as published; not shipped)", title_justify="left"
    )
    table.add_column("name", no_wrap=True)
    for heading in ("rank-1", "mAP"):
        table.add_column(heading, justify="right")
    for heading in ("distance", "licence", "SHA-256"):
        table.add_column(heading)
    for weights in KNOWN_WEIGHTS.values():
        table.add_row(
            weights.name,
            f"{weights.published_rank1:.1%}",
            f"{weights.published_mean_average_precision:.1%}",
            weights.published_distance,
            weights.licence,
            "unknown" if weights.sha256 is None else f"{weights.sha256[:12]}…",
        )
    return table
