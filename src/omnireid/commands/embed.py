"""``omnireid embed``: crops into a table of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from omnireid.commands.options import (
    OptionalNumber,
    OptionalText,
    PrecisionOption,
    RuntimeOption,
    WeightsOption,
    announce,
)
from omnireid.weights.shipped import DEFAULT_WEIGHTS


def embed(
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")],
    *,
    output: Path,
    weights: WeightsOption = DEFAULT_WEIGHTS,
    split: OptionalText = None,
    layout: str = "auto",
    split_index: int = 0,
    seed: int = 0,
    skip_unreadable: bool = False,
    batch_size: OptionalNumber = None,
    runtime: RuntimeOption = "auto",
    precision: PrecisionOption = "auto",
    architecture: OptionalText = None,
    device: str = "auto",
    threads: OptionalNumber = None,
) -> None:
    """Turn crops into embeddings, a row each, in a Parquet file.

    The file has the columns path, person_id, camera_id and embedding; its metadata
    says which weights and preprocessing made it. Person and camera ids come from a
    manifest, a data set, or Market-1501-style names; else they are empty. A job that
    was stopped or killed goes on where it was when the same command is run again.

    Example: omnireid embed crops/ --weights osnet_x0_25_market1501.pth --output crops.parquet

    Args:
        images: folders, image files, quoted globs, manifests (.csv, .parquet); or, with --split, one data set.
        output: the Parquet file to write.
        weights: a file, hf://owner/repository/file, https://…#sha256=…, or a name that ships with omnireid.
        split: the split of a data set to embed: train, validation, query, gallery or multi_query.
        layout: of that data set; auto looks which one fits.
        split_index: which published split of it, counted from 0, where it has several.
        seed: of its automatic split, where it has none.
        skip_unreadable: leave out crops that cannot be decoded, and list them, instead of stopping at the first.
        batch_size: crops a step of the network; by default what suits it.
        runtime: what runs the network; auto tries what is installed, once, and takes the fastest that passes the
            parity gate.
        precision: what it computes in; auto leaves that to the trial too.
        architecture: of a checkpoint whose keys do not tell.
        device: auto, cpu, cuda or cuda:1; in onnxruntime also coreml and dml.
        threads: for the network on a CPU; the number of cores by default.
    """
    from omnireid.data.listing import list_crops, list_split
    from omnireid.embedding.embedder import load_embedder
    from omnireid.embedding.jobs import embed_to_parquet

    crops = (
        list_crops(images) if split is None else list_split(images, split, layout, split_index=split_index, seed=seed)
    )
    embedder = load_embedder(
        weights, runtime=runtime, precision=precision, architecture=architecture, device=device, threads=threads
    )
    announce(embedder)
    summary = embed_to_parquet(
        embedder,
        crops,
        output,
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        progress=True,
    )
    print(f"{output}: {summary.embedded:,} embeddings of {embedder.metadata.architecture}")
    if summary.found_done:
        print(f"{summary.found_done:,} crops were done in an earlier run.")
    if summary.skipped:
        print(f"{len(summary.skipped):,} unreadable crops were left out; the metadata lists them. The first:")
        for path, reason in summary.skipped[:5]:
            print(f"  {path}: {reason}")
    print(f"licence of the weights: {embedder.metadata.licence}")
