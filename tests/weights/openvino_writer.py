"""Small OpenVINO graphs, as somebody else might have made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from omnireid.types import FloatArray

HEIGHT, WIDTH = 8, 4
WEIGHT = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def write_graph_of_others(
    path: Path,
    *,
    batch: int = 1,
    layout: str = "NCHW",
    kind: type[np.generic] = np.float32,
    weight: FloatArray = WEIGHT,
    counts_images: bool = False,
    second_output: bool = False,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    half: bool = False,
) -> Path:
    """Write a graph that multiplies the mean colours of its images, in the order it takes them, with `weight`.

    Args:
        path: The ``.xml``.
        batch: The batch it is made for; -1 is free.
        layout: ``NCHW`` or ``NHWC``.
        kind: Type of its input.
        weight: (3, D), with which the mean colours are multiplied.
        counts_images: Whether it adds 1 to exactly `batch` rows, so that its batch cannot be freed.
        second_output: Whether it gives the mean colours too.
        size: Height and width; -1 is free.
        half: Whether the weights are stored in half precision.
    """
    axes = {"N": batch, "C": 3, "H": size[0], "W": size[1]}
    images = ops.parameter(openvino.PartialShape([axes[axis] for axis in layout]), kind, name="data")
    floats = images if kind is np.float32 else ops.convert(images, "f32")
    across = np.array([layout.index("H"), layout.index("W")], np.int64)
    means: Any = ops.reduce_mean(floats, ops.constant(across), keep_dims=False)
    embeddings = ops.matmul(means, ops.constant(weight), False, False)
    if counts_images:
        embeddings = ops.add(embeddings, ops.constant(np.ones((batch, weight.shape[1]), np.float32)))
    embeddings.output(0).set_names({"embeddings"})
    means.output(0).set_names({"colours"})
    outputs = [embeddings.output(0), means.output(0)] if second_output else [embeddings.output(0)]
    openvino.save_model(openvino.Model(outputs, [images], "theirs"), path, compress_to_fp16=half)
    return path
