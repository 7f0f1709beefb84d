"""What several commands share: flags with the names that ``--help`` shows, and the notice of what is used."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from omnireid.embedding.embedder import Embedder

WeightsPositional = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="TEXT")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="N")]
OptionalReal = Annotated[float | None, tyro.conf.arg(metavar="X")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
WeightsOption = Annotated[str, tyro.conf.arg(metavar="WEIGHTS")]
RuntimeOption = Literal["auto", "onnxruntime", "openvino", "torch"]
PrecisionOption = Literal["auto", "fp32", "bf16", "fp16", "int8"]


def announce(embedder: Embedder) -> None:
    """Say what runs the weights and why, and, of weights that ship with omnireid, their name and terms."""
    print(embedder.choice, file=sys.stderr)
    from omnireid.weights.shipped import shipped_weights

    metadata = embedder.metadata
    for name, path in shipped_weights().items():
        if path == embedder.weights:
            print(
                f"weights {name}, shipped with omnireid; trained on {metadata.training_data}; "
                f"licence: {metadata.licence}; --weights names others",
                file=sys.stderr,
            )
