"""Which graph an export makes; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from omnireid.weights.graph_file import GraphFormat, GraphPrecision


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which graph an export makes.

    Attributes:
        to: Format of the graph. onnx is for ONNX Runtime and everything else that reads ONNX; openvino writes an
            .xml and a .bin file.
        precision: Number format of the graph. int8 needs calibration crops, and keeps in float32 the parts of the
            network that lose most.
        float_input: Leave the normalisation out of the graph, which then takes (N, 3, H, W) float32 instead of
            (N, H, W, 3) uint8.
    """

    to: GraphFormat = "onnx"
    precision: GraphPrecision = "fp32"
    float_input: bool = False
