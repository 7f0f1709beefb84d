"""Which graph an export makes; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from omnireid.errors import ExportError
from omnireid.weights.graph_file import GraphFormat, GraphPrecision

SUFFIXES: Mapping[GraphFormat, str] = {"onnx": ".onnx", "openvino": ".xml"}
"""Format to the suffix its files end in."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which graph an export makes.

    Attributes:
        to: Format of the graph. onnx is for ONNX Runtime and everything else that reads ONNX; openvino writes an
            .xml and a .bin file.
        precision: Number format of the graph. int8 needs calibration crops, and keeps in float32 the parts of the
            network that lose most.
        float_input: Leave the normalisation out of the graph, for tools that do it themselves. The graph then takes
            (N, 3, H, W) float32 instead of (N, H, W, 3) uint8: RGB pixels divided by 255, less the mean, divided by
            the standard deviation.

    Raises:
        ExportError: There is no such format or precision, or an int8 graph is to take floats.
    """

    to: GraphFormat = "onnx"
    precision: GraphPrecision = "fp32"
    float_input: bool = False

    def __post_init__(self) -> None:
        formats, precisions = get_args(GraphFormat), get_args(GraphPrecision)
        if self.to not in formats or self.precision not in precisions:
            raise ExportError(
                f"No export to {self.to!r} in {self.precision!r}. Known: {', '.join(formats)}; {', '.join(precisions)}."
            )
        if self.precision == "int8" and self.float_input:
            raise ExportError(
                "An int8 graph takes pixels, because its normalisation is part of it. Leave out float_input "
                "(--float-input)."
            )
