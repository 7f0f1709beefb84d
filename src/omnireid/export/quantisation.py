"""Static int8 quantisation with the user's own crops, and the parts of a network that are better left in float32."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omnireid.errors import ExportError, require
from omnireid.export.calibration import check_calibration
from omnireid.images.decode import RgbArray
from omnireid.models.graph_builder import INPUT

LARGEST_ERROR = 0.002
"""One minus the mean cosine with float32 above which int8 leaves the worst parts of the network in float32."""

ErrorOf = Callable[[bytes], float]
"""Measures a graph: one minus the mean cosine of its embeddings with those of float32."""

_BATCH = 16
_RANKING_CROPS = 64  # enough to order the parts of the network by what int8 costs them
_OPERATIONS = ("Conv", "Gemm", "Add", "Mul", "GlobalAveragePool", "AveragePool", "MaxPool", "Relu")
_UNTOUCHED = ("pixels", "images")  # nodes that lead to the first layer: normalisation needs more than 256 levels


def quantise_within(
    content: bytes, pixels: RgbArray, error_of: ErrorOf, *, progress: Callable[[int], None] = lambda _count: None
) -> tuple[bytes, tuple[str, ...]]:
    """Quantise the whole network or, where that costs too much, all of it except the worst parts.

    Args:
        content: A float32 ONNX graph of ours.
        pixels: (N, H, W, 3) crops that the ranges of the activations are taken from.
        error_of: Measures a graph.
        progress: Called with 1 after each part of the network that was tried.

    Returns:
        The quantised graph, and the names of the parts that stayed in float32, the worst first.

    Raises:
        ExportError: There are too few crops, or every part of the network costs too much.
        MissingDependencyError: The libraries of the extra ``export`` are not installed.
    """
    quantised = quantise(content, pixels)
    if error_of(quantised) <= LARGEST_ERROR:
        return quantised, ()
    parts = list_parts(content)
    few = pixels[:: -(-len(pixels) // _RANKING_CROPS)]
    kept: list[str] = []
    for name, _ in rank_parts(content, few, error_of, progress=progress):
        kept.append(name)
        if len(kept) == len(parts):
            break
        quantised = quantise(content, pixels, keep=[node for part in kept for node in parts[part]])
        if error_of(quantised) <= LARGEST_ERROR:
            return quantised, tuple(kept)
    raise ExportError(
        "int8 leaves nothing of these weights: every part of the network costs too much. Calibrate with more crops "
        "that are like those the graph will see, or use precision fp16 (--precision fp16)."
    )


def quantise(content: bytes, pixels: RgbArray, *, keep: Sequence[str] = ()) -> bytes:
    """Quantise a float32 graph statically: int8 weights per channel, uint8 activations, ranges from `pixels`.

    Args:
        content: A float32 ONNX graph of ours.
        pixels: (N, H, W, 3) crops that the ranges of the activations are taken from.
        keep: Names of nodes to leave in float32.

    Raises:
        ExportError: There are too few crops.
        MissingDependencyError: The libraries of the extra ``export`` are not installed.
    """
    check_calibration(pixels)
    require("onnx", None, "Quantising")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._starts = iter(range(0, len(pixels), _BATCH))

        def get_next(self) -> dict[str, Any] | None:
            start = next(self._starts, None)
            return None if start is None else {INPUT: pixels[start : start + _BATCH]}

    model = onnx.load_from_string(content)
    # Without this mark the quantiser advises, through the root logger, to fold what is folded already.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    untouched = [node.name for node in model.graph.node if node.name.startswith(_UNTOUCHED)]
    with tempfile.TemporaryDirectory(prefix="omnireid-") as folder:
        whole, result = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        whole.write_bytes(model.SerializeToString())
        quantize_static(
            whole,
            result,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATIONS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*untouched, *keep],
        )
        quantised = onnx.load(result)
    del quantised.metadata_props[:]
    done: bytes = quantised.SerializeToString(deterministic=True)
    return done


def list_parts(content: bytes) -> dict[str, list[str]]:
    """List the parts that are quantised or kept as a whole: name to the names of its nodes, in the graph's order."""
    import onnx

    parts: dict[str, list[str]] = {}
    for node in onnx.load_from_string(content).graph.node:
        if node.op_type in _OPERATIONS and not node.name.startswith(_UNTOUCHED):
            words = node.name.split(".")
            part = ".".join(words[:2]) if len(words) > 1 and words[1].isdigit() else words[0]
            parts.setdefault(part, []).append(node.name)
    return parts


def rank_parts(
    content: bytes, pixels: RgbArray, error_of: ErrorOf, *, progress: Callable[[int], None]
) -> list[tuple[str, float]]:
    """Measure what each part costs when it alone is int8: names and errors, the worst first.

    Args:
        content: A float32 ONNX graph of ours.
        pixels: (N, H, W, 3) crops to calibrate with; a few are enough to order the parts.
        error_of: Measures a graph.
        progress: Called with 1 after each part.
    """
    parts = list_parts(content)
    costs = []
    for name in parts:
        others = [node for part, members in parts.items() if part != name for node in members]
        costs.append((name, error_of(quantise(content, pixels, keep=others))))
        progress(1)
    return sorted(costs, key=lambda cost: -cost[1])
