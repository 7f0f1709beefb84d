"""OpenVINO's models as graphs of omnireid: sealed with their metadata, and run where their batch is fixed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from omnireid.types import FloatArray
from omnireid.weights.artefact import METADATA_KEY
from omnireid.weights.graph_file import Graph, GraphMetadata, record_of, sealed


def seal_openvino(model: Any, metadata: GraphMetadata, where: str) -> Graph:
    """Write a model of OpenVINO with its metadata and a digest over both of its files.

    Args:
        model: The model. It gets the metadata too.
        metadata: Description of the graph.
        where: Name of the graph in an error.
    """
    import openvino

    model.set_rt_info(record_of(metadata), METADATA_KEY)
    with tempfile.TemporaryDirectory(prefix="omnireid-") as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(model, path, compress_to_fp16=metadata.precision == "fp16")
        content, values = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    return Graph("openvino", sealed(content, values), metadata, values, where)


def run_in_fixed_batches(run: Callable[[Any], Any], images: Any, batch: int) -> FloatArray:
    """Run a graph whose batch is fixed on any number of images.

    Args:
        run: Maps exactly `batch` images to as many embeddings.
        images: (N, …) images; the last batch is filled up with zeros, whose embeddings are dropped.
        batch: Images in one run of the graph.

    Returns:
        (N, D) float32.
    """
    parts = []
    for start in range(0, len(images), batch):
        piece = images[start : start + batch]
        count = len(piece)
        if count < batch:
            piece = np.concatenate([piece, np.zeros((batch - count, *piece.shape[1:]), piece.dtype)])
        parts.append(np.array(run(piece), dtype=np.float32)[:count])
    return np.concatenate(parts)
