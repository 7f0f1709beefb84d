"""``omnireid embed``: crops into a table of embeddings."""

from __future__ import annotations

from typing import Annotated

import tyro

from omnireid.commands.options import SkipUnreadableOption, WeightsOption, announce
from omnireid.data.options import DataOptions
from omnireid.embedding.options import RuntimeOptions
from omnireid.weights.shipped import DEFAULT_WEIGHTS


def embed(
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")],
    *,
    output: Annotated[str, tyro.conf.arg(metavar="PATH")],
    weights: WeightsOption = DEFAULT_WEIGHTS,
    split: str | None = None,
    reading: DataOptions = DataOptions(),
    skip_unreadable: SkipUnreadableOption = False,
    ray: str | None = None,
    runtime: RuntimeOptions = RuntimeOptions(),
) -> None:
    """Turn crops into embeddings, one row each, in a Parquet file.

    The file has the columns path, person_id, camera_id and embedding; its metadata
    says which weights and preprocessing made it. Person and camera ids come from a
    manifest, a data set, or Market-1501-style names; otherwise they are empty. A job
    that was stopped or killed resumes when the same command is run again.

    Each name may be an address, such as s3://bucket/crops, which takes omnireid[s3].

    Example: omnireid embed crops/ --weights osnet_x0_25_market1501.pth --output crops.parquet
    Example: omnireid embed s3://site/crops --ray ray://head:10001 --output s3://site/crops.parquet

    Args:
        images: Folders, image files, quoted globs or manifests (.csv, .parquet); with --split, one data set.
        output: The Parquet file to write, or its address. Its name ends in .parquet.
        split: Embed this split of a data set: train, validation, query, gallery or multi_query.
        reading: How the data set of --split is read.
        ray: Embed on a Ray cluster, which takes omnireid[ray]: auto joins the one of this machine or starts one,
            ray://host:port joins another. All its machines read crops and weights under the same names.
        runtime: How the model is run.
    """
    from omnireid.data.listing import input_files, list_crops, list_split
    from omnireid.embedding.clusters import check_cluster
    from omnireid.embedding.embedder import load_embedder
    from omnireid.embedding.jobs import embed_to_parquet
    from omnireid.files import as_path, check_output

    if ray is not None:
        check_cluster(ray)
    target = as_path(output, "output")
    check_output(target, suffix=".parquet", inputs=input_files(images))
    crops = list_crops(images) if split is None else list_split(images, split, reading)
    embedder = load_embedder(weights, runtime)
    announce(embedder)
    summary = embed_to_parquet(
        embedder,
        crops,
        target,
        skip_unreadable=skip_unreadable,
        cluster=ray,
        progress=True,
    )
    print(f"{target}: {summary.embedded:,} embeddings of {embedder.metadata.architecture}")
    if summary.found_done:
        print(f"{summary.found_done:,} crops were embedded by an earlier run.")
    if summary.skipped:
        print(f"{len(summary.skipped):,} unreadable crops were left out; the metadata lists them. The first:")
        for path, reason in summary.skipped[:5]:
            print(f"  {path}: {reason}")
    print(f"licence of the weights: {embedder.metadata.licence}")
