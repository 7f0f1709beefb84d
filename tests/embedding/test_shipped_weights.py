"""The weights in the package itself: what every build must ship."""

from __future__ import annotations

import numpy as np

from omnireid import load_embedder
from omnireid.embedding.weights_file import make_graph
from omnireid.files import sha256_of
from omnireid.weights.artefact import read_artefact
from omnireid.weights.graph_file import GraphMetadata, seal_onnx
from omnireid.weights.shipped import DEFAULT_WEIGHTS, shipped_weights


def test_the_weights_that_ship_are_small_work_and_say_their_terms() -> None:
    shipped = shipped_weights()
    assert DEFAULT_WEIGHTS in shipped, "Put the trained artefact in src/omnireid/weights/."
    crops = np.random.default_rng(0).integers(0, 256, (3, 256, 128, 3), dtype=np.uint8)
    for name, path in shipped.items():
        assert path.stat().st_size < 1_000_000, name
        embedder = load_embedder(name)
        embeddings = embedder.embed(crops)
        assert embeddings.shape == (3, 512), name
        assert np.isfinite(embeddings).all(), name
        assert np.linalg.norm(embeddings, axis=1).min() > 0, name
        assert embedder.metadata.architecture == name.partition(".")[0]
        assert embedder.metadata.licence == "research-only training data", name
        graph = path.with_suffix(".onnx")  # runs without torch and without the library onnx
        assert graph.stat().st_size < 1_000_000, name
        tensors, metadata = read_artefact(path)
        described = GraphMetadata(metadata, weights_sha256=sha256_of(path))
        built = make_graph(tensors, described, where=name)
        assert graph.read_bytes() == seal_onnx(built.content, described), (
            f"Export it again: omnireid export {path} --output {graph}"
        )
        scores = {f"{name.rpartition('.')[2]}.{score}" for score in ("rank1", "mean_average_precision")}
        assert scores <= set(embedder.metadata.metrics), name
