"""The XML of an OpenVINO graph, read without trusting it.

Whoever made the file decides what stands in it, so it is read as a stream of tags: nothing is expanded or fetched, and
depth and size are limited. OpenVINO sees a file only after this reader has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from omnireid.errors import CheckpointError
from omnireid.weights.artefact import METADATA_KEY

LARGEST_XML = 64 << 20
"""Bytes an XML file may have. The largest of the Open Model Zoo's person re-identification graphs has 1.5 MB."""

_DEEPEST = 64
_ENCODINGS = (None, "utf-8", "us-ascii", "ascii")
_SLACK = 64
"""Bytes that may follow the last tensor of a ``.bin``, for alignment."""


@dataclass(frozen=True)
class XmlOutline:
    """What the XML says of its own use.

    Attributes:
        record: The JSON that omnireid stored in it; None if there is none.
        values_size: Bytes of the ``.bin`` that its tensors cover, from the first byte to the last.
    """

    record: str | None
    values_size: int


@dataclass
class _Reader:
    """Collects the parts of an `XmlOutline` from the tags of a file."""

    where: str
    record: str | None = None
    values_size: int = 0
    path: list[str] = field(default_factory=list)
    layer_types: list[str] = field(default_factory=list)

    def open_tag(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        if len(self.path) == 1 and name != "net":
            raise CheckpointError(f"{self.where} is not an OpenVINO graph: its root is <{name:.40}>, not <net>.")
        if len(self.path) > _DEEPEST:
            raise CheckpointError(f"{self.where} nests tags more than {_DEEPEST} deep, as no OpenVINO graph does.")
        if name == "layer":
            self.layer_types.append(attributes.get("type", ""))
        elif name == "data" and self.layer_types and self.layer_types[-1] == "Const":
            self._count_values(attributes)
        elif self.path == ["net", "rt_info", METADATA_KEY]:
            self.record = attributes.get("value")

    def close_tag(self, name: str) -> None:
        self.path.pop()
        if name == "layer":
            self.layer_types.pop()

    def _count_values(self, attributes: dict[str, str]) -> None:
        """Take into account where in the ``.bin`` a constant is stored."""
        numbers = [attributes.get(name, "") for name in ("offset", "size")]
        if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
            raise CheckpointError(
                f"{self.where} is not an OpenVINO graph: a constant does not say where in the .bin it is stored."
            )
        offset, size = map(int, numbers)
        self.values_size = max(self.values_size, offset + size)

    def declare(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise CheckpointError(f"{self.where} is encoded in {encoding:.40}; OpenVINO's graphs are in UTF-8.")

    def refuse_document_type(self, *_: object) -> None:
        raise CheckpointError(
            f"{self.where} declares a document type, with which a small file can grow to any size. No OpenVINO graph "
            "has one, so this one is not opened."
        )


def read_outline(content: bytes, where: str) -> XmlOutline:
    """Read what matters of an OpenVINO graph's XML.

    Args:
        content: The file.
        where: Its name in an error.

    Raises:
        CheckpointError: It is no XML, not OpenVINO's, declares a document type (which entities need), is too large or
            too deep, or is not in UTF-8.
    """
    if len(content) > LARGEST_XML:
        raise CheckpointError(
            f"{where} has {len(content):,} bytes; an OpenVINO graph's XML has at most {LARGEST_XML:,}."
        )
    reader = _Reader(where)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.open_tag
    parser.EndElementHandler = reader.close_tag
    parser.XmlDeclHandler = reader.declare
    parser.StartDoctypeDeclHandler = reader.refuse_document_type
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise CheckpointError(f"{where} is not an OpenVINO graph ({error}). Get it again.") from error
    return XmlOutline(reader.record, reader.values_size)


def check_values(outline: XmlOutline, size: int, where: str) -> None:
    """Check that a ``.bin`` can be the one that an XML was written with.

    Args:
        outline: What the XML says.
        size: Bytes of the ``.bin``.
        where: Name of the XML in an error.

    Raises:
        CheckpointError: It is shorter or longer than the XML's tensors.
    """
    if not outline.values_size <= size < outline.values_size + _SLACK:
        raise CheckpointError(
            f"The .bin beside {where} has {size:,} bytes, and the tensors of the .xml take {outline.values_size:,}: it "
            "was cut short, or belongs to another model. Get both files again from one place."
        )
