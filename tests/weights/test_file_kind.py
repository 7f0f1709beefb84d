from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import CheckpointError, WeightsNotFoundError
from omnireid.weights.file_kind import WeightsKind, identify_weights

XML = b'<?xml version="1.0"?>\n<net name="osnet" version="11">\n</net>\n'


def content_of(kind: str, untrained: Path) -> bytes:
    stream = io.BytesIO()
    if kind == "artefact":
        return untrained.read_bytes()
    if kind == "onnx":
        return WeightsFile(untrained).graph.content
    if kind == "openvino":
        return b"\xef\xbb\xbf" + XML
    torch.save({"a": torch.ones(2)}, stream, _use_new_zipfile_serialization=kind == "zip")
    return stream.getvalue()


@pytest.mark.parametrize("name", ["w.pth", "w.ONNX", "w.safetensors", "w.xml", "weights"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("artefact", "artefact"),
        ("onnx", "onnx"),
        ("openvino", "openvino"),
        ("zip", "checkpoint"),
        ("legacy", "checkpoint"),
    ],
)
def test_the_content_decides_and_not_the_name(
    tmp_path: Path, untrained: Path, name: str, kind: str, expected: WeightsKind
) -> None:
    (tmp_path / name).write_bytes(content_of(kind, untrained))
    assert identify_weights(tmp_path / name) == expected


def test_the_values_of_an_openvino_graph_point_to_the_graph(tmp_path: Path, untrained: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(np.linspace(-1, 1, 9, dtype=np.float32).tobytes())
    assert identify_weights(path) == "checkpoint"  # whose reader says more
    path.with_suffix(".xml").write_bytes(XML)
    with pytest.raises(CheckpointError, match=r"values of an OpenVINO graph. Name the graph beside it: .*w\.xml"):
        identify_weights(path)
    path.write_bytes(content_of("zip", untrained))
    assert identify_weights(path) == "checkpoint"


def test_safetensors_of_others(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"omnireid": np.ones(2, dtype=np.float32)}, path, metadata={"format": "pt"})
    assert identify_weights(path) == "state dict"


def tar(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("w.pth")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            r"is a Git LFS pointer.*with: git lfs pull",
        ),
        (gzip.compress(b"weights", mtime=0), r"is a gzip file\. Unpack it"),
        (tar(b"weights"), r"is a tar archive\. Unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(30), r"is a 7z archive\. Unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(30), r"is an HDF5 file, as Keras .* Give an OSNet checkpoint \(\.pth\)"),
        (bytes(4) + b"TFL3" + bytes(30), r"is a TensorFlow Lite model"),
        (b"", r"is empty \(0 bytes\)"),
    ],
)
def test_what_is_known_to_be_no_weights(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        identify_weights(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"No such file of weights: .*none\.pth"):
        identify_weights(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        identify_weights(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match="is a pipe or a device"):
        identify_weights(tmp_path / "pipe.pth")
