"""The weights in the package itself: what every build must ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnireid import RuntimeOptions, evaluate_ranking, load_dataset, load_embedder, synthesize
from omnireid.embedding.weights_file import make_graph
from omnireid.files import sha256_of
from omnireid.weights.artefact import read_artefact
from omnireid.weights.graph_file import GraphMetadata, seal_onnx
from omnireid.weights.shipped import DEFAULT_WEIGHTS, shipped_scores, shipped_weights

LICENCE = "research-only training data"
LARGEST = {"osnet_retail_x0_5.general": 1_500_000}
"""Bytes that a file may have, where it is not the smallest width: those may have a million."""


def test_the_weights_that_ship_are_small_work_and_say_their_terms() -> None:
    shipped = shipped_weights()
    assert DEFAULT_WEIGHTS in shipped, "Put the trained artefact in src/omnireid/weights/."
    crops = np.random.default_rng(0).integers(0, 256, (3, 256, 128, 3), dtype=np.uint8)
    for name, path in shipped.items():
        assert path.stat().st_size < LARGEST.get(name, 1_000_000), name
        embedder = load_embedder(name, RuntimeOptions(runtime="onnxruntime", precision="fp32"))
        embeddings = embedder.embed(crops)
        assert embeddings.shape == (3, embedder.metadata.embedding_dimension), name
        assert np.isfinite(embeddings).all(), name
        assert np.linalg.norm(embeddings, axis=1).min() > 0, name
        assert embedder.metadata.architecture == name.partition(".")[0]
        assert embedder.metadata.licence == LICENCE, name
        assert shipped_scores(name, embedder.metadata), name


def test_a_graph_that_ships_is_the_one_its_weights_give() -> None:
    graphs = {name: path.with_suffix(".onnx") for name, path in shipped_weights().items()}
    shipped = {name: path for name, path in graphs.items() if path.exists()}
    assert DEFAULT_WEIGHTS in shipped
    for name, graph in shipped.items():
        assert graph.stat().st_size < 1_000_000, name
        path = graph.with_suffix(".safetensors")
        tensors, metadata = read_artefact(path)
        described = GraphMetadata(metadata, weights_sha256=sha256_of(path))
        built = make_graph(tensors, described, where=name)
        assert graph.read_bytes() == seal_onnx(built.content, described), (
            f"Export it again: omnireid export {path} --output {graph}"
        )


def test_the_default_network_knows_drawn_people_it_never_saw(tmp_path: Path) -> None:
    dataset = load_dataset(synthesize(tmp_path / "people", identities=20, cameras=3, per_camera=2, seed=0, workers=1))
    embedder = load_embedder(options=RuntimeOptions(runtime="onnxruntime", precision="fp32"))
    query, gallery = (embedder.embed(split.paths) for split in (dataset.query, dataset.gallery))
    scores = evaluate_ranking(query, gallery, dataset.query.labels, dataset.gallery.labels)
    assert scores.rank1 >= 0.9
