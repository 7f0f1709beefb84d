"""Static int8 quantisation with the user's own crops, and the layers that are better left alone."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnireid.embedding.parity import compare_embeddings
from omnireid.errors import ExportError, require
from omnireid.images.decode import RgbArray
from omnireid.models.graph_builder import INPUT
from omnireid.types import FloatArray

FEWEST_CROPS = 32
"""With fewer, ranges of activations are those of these few people."""

_BATCH = 16
_OPERATIONS = ("Conv", "Gemm", "Add", "Mul", "GlobalAveragePool", "AveragePool", "MaxPool", "Relu")
_UNTOUCHED = ("pixels", "images")  # what leads to conv1: normalisation itself needs more than 256 levels


def check_calibration(pixels: RgbArray) -> None:
    """Refuse too few crops to calibrate with.

    Raises:
        ExportError: fewer than `FEWEST_CROPS`.
    """
    if len(pixels) < FEWEST_CROPS:
        raise ExportError(
            f"{len(pixels)} crops are too few to calibrate int8 with: at least {FEWEST_CROPS}, better a few hundred of "
            "the cameras it will see. Name more with --calibration."
        )


def quantise(content: bytes, pixels: RgbArray, *, keep: Sequence[str] = ()) -> bytes:
    """Quantise a float32 graph statically: int8 weights a channel, uint8 activations, ranges from `pixels`.

    Args:
        content: an ONNX graph of ours.
        pixels: (N, H, W, 3) crops that the ranges of the activations are taken from.
        keep: names of nodes to leave in float32.

    Raises:
        ExportError: too few crops.
        MissingDependencyError: the libraries of the extra ``export`` are not installed.
    """
    check_calibration(pixels)
    require("onnx", "export", "Quantising")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._starts = iter(range(0, len(pixels), _BATCH))

        def get_next(self) -> dict[str, Any] | None:
            start = next(self._starts, None)
            return None if start is None else {INPUT: pixels[start : start + _BATCH]}

    import onnx

    model = onnx.load_from_string(content)
    nodes = [node.name for node in model.graph.node if node.name.startswith(_UNTOUCHED)]
    with tempfile.TemporaryDirectory(prefix="omnireid-") as folder, warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        whole, result = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        whole.write_bytes(content)
        quantize_static(
            whole,
            result,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATIONS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*nodes, *keep],
        )
        quantised = onnx.load(result)
        del quantised.metadata_props[:]
        done: bytes = quantised.SerializeToString(deterministic=True)
        return done


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises through the root logger to pre-process the graph; ours has nothing left to fold."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def blocks_of(content: bytes) -> dict[str, list[str]]:
    """The parts that are kept in float32 or not as a whole, in the order of the graph: part to names of its nodes."""
    import onnx

    parts: dict[str, list[str]] = {}
    for node in onnx.load_from_string(content).graph.node:
        if node.op_type in _OPERATIONS and not node.name.startswith(_UNTOUCHED):
            words = node.name.split(".")
            part = ".".join(words[:2]) if len(words) > 1 and words[1].isdigit() else words[0]
            parts.setdefault(part, []).append(node.name)
    return parts


def rank_parts(
    content: bytes, pixels: RgbArray, error_of: Callable[[bytes], float], *, progress: Callable[[int], None]
) -> list[tuple[str, float]]:
    """How much each part costs when it alone is int8, worst first.

    Args:
        content: the float32 graph.
        pixels: to calibrate with; few are enough to order the parts.
        error_of: a graph's distance from float32.
        progress: called with 1 after each part.
    """
    parts = blocks_of(content)
    costs = []
    for name in parts:
        others = [node for part, members in parts.items() if part != name for node in members]
        costs.append((name, error_of(quantise(content, pixels, keep=others))))
        progress(1)
    return sorted(costs, key=lambda cost: -cost[1])


def mean_error(reference: FloatArray, found: FloatArray) -> float:
    """1 − mean cosine, the distance of int8 embeddings from those of float32 that parts are chosen by."""
    return 1 - compare_embeddings(reference, found).mean
