"""Embeddings with the attributes of their crops: from a stored table, or from crops and a network."""

from __future__ import annotations

from omnireid.attributes.head import AttributedEmbeddings
from omnireid.data.attributes import Attributes
from omnireid.embedding.chunks import embed_crops
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import EmbeddingTable
from omnireid.types import Crops


def attach_attributes(table: EmbeddingTable, attributes: Attributes) -> AttributedEmbeddings:
    """Give the crops of a table their attributes, by person or by path. Crops without any are left out.

    Raises:
        DataError: No crop has attributes.
    """
    picked = attributes.pick(table.crops)
    return AttributedEmbeddings(
        table=table.pick(picked.crops),
        names=picked.names,
        values=picked.values,
        data=attributes.name,
        licence=attributes.licence,
    )


def embed_attributed(
    embedder: Embedder,
    crops: Crops,
    attributes: Attributes,
    *,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> AttributedEmbeddings:
    """Embed those of `crops` that have attributes.

    Args:
        embedder: The network.
        crops: Crops, such as `load_attributed_crops` lists.
        attributes: Their attributes.
        skip_unreadable: Leave out crops that cannot be decoded, instead of stopping at the first.
        progress: Show a bar on standard error.

    Raises:
        DataError: No crop has attributes.
        ImageError: A crop cannot be decoded.
    """
    known = attributes.pick(crops).crops
    table = embed_crops(embedder, known, skip_unreadable=skip_unreadable, progress=progress)
    return attach_attributes(table, attributes)
