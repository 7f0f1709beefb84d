"""``omnireid models``: the variants, what each costs, and the weights that are known."""

from __future__ import annotations

import sys
from dataclasses import asdict
from json import dumps

from rich import box
from rich.console import Console
from rich.table import Table

from omnireid.models.zoo import KNOWN_WEIGHTS, VARIANTS


def models(*, json: bool = False) -> None:
    """List the networks by name, what each costs, and the weights that are known.

    Parameters are counted without a classifier, multiply-adds for one 256×128 image. Scores are those their
    authors published, on the test split of the training data; `omnireid evaluate` measures them on yours.

    Example: omnireid models --json

    Args:
        json: print JSON instead of tables.
    """
    if json:
        variants = [
            {"name": variant.name, "parameters": variant.parameters, "multiply_adds": variant.multiply_adds}
            for variant in VARIANTS.values()
        ]
        sys.stdout.write(
            dumps({"variants": variants, "weights": [asdict(w) for w in KNOWN_WEIGHTS.values()]}, indent=2)
        )
        sys.stdout.write("\n")
        return
    terminal = sys.stdout.isatty()
    # A pipe gets bare columns, wide enough that nothing wraps.
    console = Console(width=None if terminal else 160, highlight=False)
    style = box.SIMPLE_HEAD if terminal else None
    console.print(_variant_table(style))
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


def _weights_table(style: box.Box | None) -> Table:
    table = Table(
        box=style, title="Known weights (scores as published; none ships with omnireid)", title_justify="left"
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
