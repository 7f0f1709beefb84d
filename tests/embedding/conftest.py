"""What tests of runtimes share: the same weights in every kind of file, and a machine of two cores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omnireid.embedding import network as network_module
from omnireid.embedding.weights_file import WeightsFile
from omnireid.export.exporting import export_weights
from omnireid.export.options import ExportOptions
from omnireid.weights.graph_file import seal_onnx


@pytest.fixture(scope="module")
def two_cores() -> Iterator[None]:
    """Streams and threads are there whatever machine this is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_module, "usable_cores", lambda: 2)
        yield


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, untrained: Path, untrained_int8: bytes) -> Path:
    """A folder of the same weights in every kind of file; ``int8.onnx`` is near them."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "w.safetensors").write_bytes(untrained.read_bytes())
    source = WeightsFile(untrained)
    for name, graph in (
        ("w", source.graph),
        ("half", source.make_graph("fp16")),
        ("float", source.make_graph("fp32", takes_pixels=False)),
    ):
        (folder / f"{name}.onnx").write_bytes(seal_onnx(graph.content, graph.metadata))
    (folder / "int8.onnx").write_bytes(untrained_int8)
    pair = export_weights(untrained, ExportOptions(to="openvino")).graph
    (folder / "w.xml").write_bytes(pair.content)
    (folder / "w.bin").write_bytes(pair.values)
    return folder
