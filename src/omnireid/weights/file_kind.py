"""What a file of weights is, decided by its first bytes. Names are not believed: people rename files, and servers lie.

This is the one place that decides it; every reader asks here.
"""

from __future__ import annotations

import codecs
import json
import stat
from pathlib import Path
from typing import Literal

from omnireid.errors import CheckpointError, WeightsNotFoundError
from omnireid.weights.artefact import METADATA_KEY

WeightsKind = Literal["artefact", "state dict", "checkpoint", "onnx", "openvino"]
"""What a file of weights can be:

- ``artefact``: a safetensors file that omnireid wrote.
- ``state dict``: a safetensors file that others wrote.
- ``checkpoint``: a file of ``torch.save``, or anything that is none of the others; its reader says what.
- ``onnx``: an ONNX graph.
- ``openvino``: the XML of an OpenVINO graph, whose values are in the ``.bin`` beside it.
"""

GRAPH_KINDS: tuple[WeightsKind, ...] = ("onnx", "openvino")
"""The kinds that a runtime takes as they are."""

_HEAD = 4096
_BLANK = "\ufeff \r\n\t"
_LONGEST_HEADER = 100_000_000  # safetensors' own limit
_COMPRESSED = {
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"Rar!": "a RAR archive",
}
_FOREIGN = {
    b"\x89HDF": "an HDF5 file, as Keras and MATLAB write them",
    b"GGUF": "a GGUF file, which holds a language model",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
}
_ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Fields of ONNX's ModelProto to their wire types; 7 is the graph."""


def identify_weights(path: Path) -> WeightsKind:
    """Decide by its content what a file of weights is.

    Raises:
        WeightsNotFoundError: No such file.
        CheckpointError: A folder, a pipe or a device; unreadable or empty; or something that is known to be no file
            of weights, such as a web page, a Git LFS pointer or an archive. The message says what to do.
    """
    head, size = _read_head(path)
    if is_safetensors(head):
        return "artefact" if _has_our_metadata(path, head, size) else "state dict"
    if is_onnx(head):
        return "onnx"
    _refuse_foreign(path, head)
    text = _as_text(head)
    if text is not None and text.lstrip(_BLANK).startswith(("<?xml", "<net")) and "<net" in text:
        return "openvino"
    if text is not None and not head.startswith((b"c", b"(")):  # Python's oldest pickles are text that begins so
        raise CheckpointError(f"{path} is {describe_text(head)}. Get the file again.")
    return "checkpoint"


def _read_head(path: Path) -> tuple[bytes, int]:
    """The first bytes of a file and its size."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise CheckpointError(f"{path} is a folder; a file of weights was expected. Name the file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path} is a pipe or a device; a file of weights was expected.")
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsNotFoundError(f"No such file of weights: {path}. Check the path.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes): a download or a copy failed. Get the file again.")
    return head, status.st_size


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, and the header."""
    return head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") <= _LONGEST_HEADER


def _has_our_metadata(path: Path, head: bytes, size: int) -> bool:
    """Whether a safetensors file carries omnireid's metadata. A damaged header counts as ours: its reader says more."""
    length = int.from_bytes(head[:8], "little")
    if length > size - 8:
        return True
    with path.open("rb") as stream:
        header = stream.read(8 + length)[8:]
    try:
        return METADATA_KEY in json.loads(header).get("__metadata__", {})
    except (ValueError, RecursionError, AttributeError, TypeError):
        return True


def is_onnx(head: bytes) -> bool:
    """Whether a file begins as an ONNX model does: its fields, up to the graph or as far as `head` goes."""
    position, fields = 0, 0
    while position < len(head):
        tag, position = _read_number(head, position)
        field, wire = tag >> 3, tag & 7
        if _ONNX_FIELDS.get(field) != wire or (not fields and field != 1):
            return False
        value, position = _read_number(head, position)
        fields += 1
        if field == 7:
            return True
        position += value if wire == 2 else 0
    return fields > 1


def _read_number(content: bytes, position: int) -> tuple[int, int]:
    """A protobuf number and the position behind it; nonsense where the content ends within it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position] if position < len(content) else 0
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return value, position


def _refuse_foreign(path: Path, head: bytes) -> None:
    """Refuse what is known to be no file of weights, or only half of one."""
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a Git LFS pointer: the name of the weights, not the weights. Fetch them with: git lfs pull"
        )
    graph = path.with_suffix(".xml")
    if path.suffix.lower() == ".bin" and graph.is_file() and not head.startswith((b"PK", b"\x80")):  # not torch.save's
        raise CheckpointError(f"{path} holds only the values of an OpenVINO graph. Name the graph beside it: {graph}")
    packed = next((what for magic, what in _COMPRESSED.items() if head.startswith(magic)), None)
    if packed is None and head[257:262] == b"ustar":
        packed = "a tar archive"
    if packed is not None:
        raise CheckpointError(f"{path} is {packed}. Unpack it, and name the file of weights in it.")
    what = next((what for magic, what in _FOREIGN.items() if head.startswith(magic)), None)
    if what is None and head[4:8] == b"TFL3":
        what = "a TensorFlow Lite model"
    if what is not None:
        raise CheckpointError(
            f"{path} is {what}. Give an OSNet checkpoint (.pth), an artefact (.safetensors) or a graph (.onnx, .xml)."
        )


def describe_text(head: bytes) -> str | None:
    """What the first bytes of a text file say it is; None where they are binary."""
    text = _as_text(head)
    if text is None:
        return None
    kind = "a web page: the download failed" if text.lstrip(_BLANK).startswith("<") else "text, not weights"
    return f"{kind}. It starts with {text[:40]!r}"


def _as_text(head: bytes) -> str | None:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # allows for a letter cut in two at the end
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter.isspace() or letter == "\ufeff" for letter in text) else None
