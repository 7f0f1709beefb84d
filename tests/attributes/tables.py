"""Small made-up embeddings with attributes that follow from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnireid.attributes.head import AttributedEmbeddings
from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.types import Crops

SHA = "ab" * 32
NAMES = ("hat", "upper=red", "upper=blue")


def provenance(sha: str = SHA) -> Provenance:
    return Provenance(sha, "osnet_x0_25", {}, "cosine", "free", "0", runtime="onnxruntime fp32")


def make_data(people: int = 40, seed: int = 0, *, sha: str = SHA) -> AttributedEmbeddings:
    """Three crops of each person; the attributes are a noisy half-space each, and two of them exclude each other."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 6))
    person_ids = np.repeat(np.arange(people), 3)
    embeddings = centres[person_ids] + 0.3 * rng.normal(size=(3 * people, 6))
    hat, red = centres[:, 0] > 0.8, centres[:, 1] > 0
    values = np.stack([hat, red, ~red & (centres[:, 2] > -1)], axis=1)[person_ids]
    crops = Crops(tuple(Path(f"{index}.jpg") for index in range(len(person_ids))), person_ids)
    return AttributedEmbeddings(
        EmbeddingTable(crops, embeddings.astype(np.float32), provenance(sha)), NAMES, values, "made up", "free"
    )
