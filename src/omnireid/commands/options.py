"""What several commands share: flags with the names that ``--help`` shows, and the notice of shipped weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder

WeightsPositional = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="N")]
OptionalReal = Annotated[float | None, tyro.conf.arg(metavar="X")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
WeightsOption = Annotated[str, tyro.conf.arg(metavar="WEIGHTS")]


def announce_shipped(embedder: Embedder) -> None:
    """Say the name and terms of weights that ship with omnireid; nothing of others, which the user chose."""
    from omnireid.embedding.defaults import shipped_weights

    metadata = embedder.metadata
    for name, path in shipped_weights().items():
        if path == embedder.weights:
            print(
                f"weights {name}, shipped with omnireid; trained on {metadata.training_data}; "
                f"licence: {metadata.licence}; --weights names others",
                file=sys.stderr,
            )
