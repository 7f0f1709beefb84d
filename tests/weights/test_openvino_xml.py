"""Hostile and damaged XML is refused before OpenVINO sees it."""

from __future__ import annotations

import pytest

from omnireid.errors import CheckpointError
from omnireid.weights import openvino_xml
from omnireid.weights.openvino_xml import XmlOutline, check_values, read_outline

CONST = "<layer type='Const'><data offset='{}' size='{}'/></layer>"


def graph(inside: str, before: str = "") -> bytes:
    return f"<?xml version='1.0'?>{before}<net name='x'><layers>{inside}</layers></net>".encode()


def test_the_outline_has_what_the_constants_cover_also_inside_of_bodies() -> None:
    inner = f"<layer type='TensorIterator'><body><layers>{CONST.format(64, 36)}</layers></body></layer>"
    other = "<layer type='LRN'><data size='9000' offset='x'/></layer>"
    assert read_outline(graph(CONST.format(0, 64) + inner + other), "w.xml") == XmlOutline(None, 100)


def test_only_the_record_at_its_own_place_counts() -> None:
    hidden = "<layer type='Result'><rt_info><omnireid value='no'/></rt_info></layer>"
    assert read_outline(graph(hidden), "w.xml").record is None
    content = graph(hidden).replace(b"</net>", b"<rt_info><omnireid value='{&quot;a&quot;: 1}'/></rt_info></net>")
    assert read_outline(content, "w.xml").record == '{"a": 1}'


LAUGHS = "<!DOCTYPE net [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (graph("&b;", LAUGHS), "declares a document type"),
        (graph("", "<!DOCTYPE net SYSTEM 'file:///etc/passwd'>"), "declares a document type"),
        (graph("").replace(b"'1.0'", b"'1.0' encoding='cp037'"), "is encoded in cp037; .* UTF-8"),
        (graph("<a>" * 80 + "</a>" * 80), "nests tags more than 64 deep"),
        (graph(CONST.format("-1", 4)), "a constant does not say where"),
        (graph(CONST.format("1" * 40, 4)), "a constant does not say where"),
        (graph("<layer>"), r"is not an OpenVINO graph \(mismatched tag"),
        (graph("&undeclared;"), "is not an OpenVINO graph"),
        (b"<network/>", "its root is <network>, not <net>"),
        (b"", "is not an OpenVINO graph"),
    ],
)
def test_what_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"w\.xml.*{message}"):
        read_outline(content, "w.xml")


def test_an_xml_of_any_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_xml, "LARGEST_XML", 1000)
    with pytest.raises(CheckpointError, match=r"w\.xml has [\d,]+ bytes; .* at most 1,000"):
        read_outline(graph(" " * 1000), "w.xml")


@pytest.mark.parametrize(("size", "fits"), [(99, False), (100, True), (163, True), (164, False)])
def test_the_bin_has_the_length_that_the_xml_states_or_a_little_more_for_alignment(size: int, fits: bool) -> None:
    if fits:
        check_values(XmlOutline(None, 100), size, "w.xml")
        return
    with pytest.raises(CheckpointError, match=rf"The \.bin beside w\.xml has {size} bytes.*take 100.*another model"):
        check_values(XmlOutline(None, 100), size, "w.xml")
