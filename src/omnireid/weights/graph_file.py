"""The weights artefact for runtimes: a graph that says what it is and how to use it.

An ONNX file, or OpenVINO's pair of ``.xml`` and ``.bin``, that carries under the
key ``omnireid`` the JSON of `GraphMetadata` and a SHA-256 over the whole file (over
both files of a pair), computed with the digest's own digits as zeros.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from omnireid.errors import CheckpointError, WeightsNotFoundError, first_line, newer_format, require
from omnireid.files import atomic_output
from omnireid.weights.artefact import FORMAT_VERSION, METADATA_KEY, WeightsMetadata
from omnireid.weights.file_kind import identify_weights
from omnireid.weights.openvino_xml import LARGEST_XML, read_outline
from omnireid.weights.published import find_published_file

if TYPE_CHECKING:
    import onnxruntime

GraphFormat = Literal["onnx", "openvino"]
GraphPrecision = Literal["fp32", "fp16", "int8"]

_TOO_NEW = re.compile(
    r"Unsupported model IR version: \d+, max supported IR version: \d+|Opset \d+ is under development"
)
_LARGEST_VALUES = 2 << 30
_NO_DIGEST = "0" * 64
# How a tensor in an ONNX file begins to say in which other file its values are.
_EXTERNAL = b"\x0a\x08location\x12"
# In an XML attribute, quotes are escaped.
_DIGEST = re.compile(rb"graph_sha256(?:\"|&quot;): (?:\"|&quot;)([0-9a-f]{64})")


@dataclass(frozen=True)
class GraphMetadata:
    """What a graph is and how to use it.

    Attributes:
        weights: Description of the weights, as in the artefact they came from.
        precision: Number format in which the weights are stored. With ``int8``, some layers stay in float32.
        takes_pixels: Whether the input is (N, H, W, 3) uint8 RGB, and not (N, 3, H, W) float32, normalised.
        weights_sha256: SHA-256 of the weights file the graph was made from, which stored embeddings carry. For a graph
            of others it may cover a choice too; see `omnireid.weights.foreign_interface.describe_foreign`.
        kept_in_float: Layers of an int8 graph that are not int8.
        fixed_batch: Images in one run of a graph whose batch is fixed; None where it is free.
        attributes: Names of the attributes whose scores are the second output; empty where there is none.
    """

    weights: WeightsMetadata
    precision: GraphPrecision = "fp32"
    takes_pixels: bool = True
    weights_sha256: str = "unknown"
    kept_in_float: tuple[str, ...] = ()
    fixed_batch: int | None = None
    attributes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """The metadata as plain values."""
        return {
            **self.weights.json(),
            "graph_precision": self.precision,
            "takes_pixels": self.takes_pixels,
            "weights_sha256": self.weights_sha256,
            "kept_in_float": list(self.kept_in_float),
            "fixed_batch": self.fixed_batch,
            "attributes": list(self.attributes),
        }


@dataclass(frozen=True, eq=False)
class Graph:
    """A network in the form that a runtime reads.

    Attributes:
        format: Format of the bytes.
        content: An ONNX model, or OpenVINO's XML.
        values: OpenVINO's ``.bin``. Empty for ONNX.
        metadata: Description of the graph.
        where: Name of the graph in an error.
    """

    format: GraphFormat
    content: bytes = field(repr=False)
    metadata: GraphMetadata
    values: bytes = field(repr=False, default=b"")
    where: str = "the graph"


def record_of(metadata: GraphMetadata) -> str:
    """The JSON to store in a graph, with zeros in the place of the digest that `sealed` fills in."""
    return json.dumps({"format_version": FORMAT_VERSION, "graph_sha256": _NO_DIGEST, **metadata.json()}, sort_keys=True)


def sealed(content: bytes, values: bytes = b"") -> bytes:
    """`content`, which must hold a `record_of`, with the digest filled in."""
    return _with_digest(content, graph_sha256(content, values))


def seal_onnx(content: bytes, metadata: GraphMetadata) -> bytes:
    """Give an ONNX model its metadata and digest, and drop any metadata it had.

    Raises:
        MissingDependencyError: the library onnx is not installed.
    """
    require("onnx", None, "Writing an ONNX graph")
    import onnx

    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=record_of(metadata))
    return sealed(model.SerializeToString(deterministic=True))


def write_graph(path: Path, graph: Graph) -> None:
    """Write a sealed graph. Both files of an OpenVINO pair are complete on the disk before either gets its name.

    Raises:
        OutputError: a file cannot be written.
    """
    with ExitStack() as outputs:
        outputs.enter_context(atomic_output(path)).write_bytes(graph.content)
        if graph.format == "openvino":  # entered last, so renamed first: an .xml never lacks its values
            outputs.enter_context(atomic_output(path.with_suffix(".bin"))).write_bytes(graph.values)


def read_graph(path: Path) -> Graph:
    """Read a graph that omnireid wrote, and check that it has not changed since.

    Raises:
        WeightsNotFoundError: no such file, or an ``.xml`` without its ``.bin``.
        CheckpointError: it is no graph, is not omnireid's, keeps weights in another file, was altered or damaged, has
            a ``.bin`` of another graph, or was written by a newer version.
    """
    graph_format = identify_weights(path)
    if graph_format not in ("onnx", "openvino"):
        raise CheckpointError(f"{path} is not a graph, whatever its name says. See what it is with: omnireid inspect")
    if graph_format == "openvino":
        content, values = read_pair(path)
        text = read_outline(content, str(path)).record
    else:
        content, values = _read(path, _LARGEST_VALUES), b""
        if _EXTERNAL in content:
            raise CheckpointError(
                f"{path} keeps weights in another file, which its SHA-256 does not cover, so nobody can tell whether "
                "they are intact. Take them inside with omnireid convert, from the original graph, or export it again."
            )
        text = _onnx_record(path, content)
    if text is None:
        raise CheckpointError(_says_nothing(path, content))
    metadata = _read_record(path, text)
    found = _DIGEST.search(content)
    if found is None or graph_sha256(_with_digest(content, _NO_DIGEST), values) != found[1].decode():
        other = ", or the .bin beside it is of another graph" if values else ""
        raise CheckpointError(
            f"{path} is not as it was written: the graph or its weights were altered or damaged after the export"
            f"{other}. Get it again, or make it again from the original weights with: omnireid export (from a graph "
            "of others: omnireid convert)"
        )
    return Graph(graph_format, content, metadata, values, str(path))


def _with_digest(content: bytes, digest: str) -> bytes:
    found = _DIGEST.search(content)
    assert found is not None
    return content[: found.start(1)] + digest.encode() + content[found.end(1) :]


def read_pair(path: Path) -> tuple[bytes, bytes]:
    """Read both files of an OpenVINO graph.

    Args:
        path: The ``.xml``; the ``.bin`` lies beside it under the same name.

    Raises:
        WeightsNotFoundError: One of them is missing.
        CheckpointError: One of them is too large or cannot be read.
    """
    return _read(path, LARGEST_XML), _read(path.with_suffix(".bin"), _LARGEST_VALUES)


def graph_sha256(content: bytes, values: bytes = b"") -> str:
    """Compute the SHA-256 of a graph: of its file, or of an ``.xml`` and its ``.bin``, one after the other."""
    return hashlib.sha256(content + values).hexdigest()


def _read(path: Path, largest: int) -> bytes:
    if not path.is_file():
        raise WeightsNotFoundError(
            f"No such file of weights: {path}. An OpenVINO graph is two files of one name, .xml and .bin, in one "
            "folder: get the missing one from where the other came."
        )
    try:
        if (size := path.stat().st_size) > largest:
            raise CheckpointError(f"{path} has {size:,} bytes; such a file of a graph has at most {largest:,}.")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error


def _says_nothing(path: Path, content: bytes) -> str:
    """The error text for a graph without omnireid's metadata, and how to give it some."""
    ours = f"OURS{path.suffix.lower() if path.suffix.lower() in ('.onnx', '.xml') else ''}"
    published = find_published_file(hashlib.sha256(content).hexdigest())
    if published is not None and published.description is not None:
        return (
            f"{path} is {published.name} as its publisher gives it. Name it so (--weights {published.name}), or make "
            f"an artefact of your copy: omnireid convert {path.name} --output {ours}"
        )
    return (
        f"{path} is a graph without omnireid's metadata, so its input size, channel order, normalisation, licence and "
        "precision are not known, and nothing is guessed. Say them once and write an artefact with: omnireid convert "
        f"{path.name} --output {ours} --architecture NAME --channels rgb|bgr --mean R G B --std R G B --licence TEXT"
    )


def _onnx_record(path: Path, content: bytes) -> str | None:
    """The JSON that omnireid stored in an ONNX file's metadata; None if there is none."""
    found: str | None = open_bare(content, str(path)).get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return found


def open_bare(content: bytes, where: str) -> onnxruntime.InferenceSession:
    """Open an ONNX model in ONNX Runtime as it is stored, to look at it and not to run it.

    Raises:
        CheckpointError: It cannot be read, or needs a newer ONNX Runtime.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        # The fallback would try the same again, and print to standard output.
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"], enable_fallback=0)
        check_texts(session)
    except Exception as error:
        if newer := _TOO_NEW.search(str(error)):
            raise CheckpointError(
                f"{where} is written in a newer ONNX than this ONNX Runtime reads ({newer[0].strip()}). Upgrade it "
                "with: pip install --upgrade onnxruntime; or export the graph again with an older opset."
            ) from error
        raise CheckpointError(
            f"{where} ({len(content):,} bytes) cannot be read as an ONNX graph ({first_line(error)}). Was the "
            "download or copy cut short? Get it again."
        ) from error
    return session


def check_texts(session: onnxruntime.InferenceSession) -> None:
    """Read the texts of a graph that are used later: ONNX Runtime decodes them only when they are asked for.

    Raises:
        UnicodeDecodeError: One is not UTF-8.
    """
    _ = session.get_modelmeta().custom_metadata_map
    _ = [port.name for port in (*session.get_inputs(), *session.get_outputs())]


def _read_record(path: Path, text: str) -> GraphMetadata:
    try:
        record = json.loads(text)
        version = int(record["format_version"])
        if version > FORMAT_VERSION:
            raise CheckpointError(newer_format(path, version, FORMAT_VERSION))
        weights = WeightsMetadata.from_json(record, str(path))
        metadata = GraphMetadata(
            weights,
            record["graph_precision"],
            record["takes_pixels"],
            record["weights_sha256"],
            tuple(record["kept_in_float"]),
            record.get("fixed_batch"),  # earlier versions wrote neither this nor the attributes
            tuple(record.get("attributes", ())),
        )
        batch = metadata.fixed_batch
        checks = (
            metadata.precision in get_args(GraphPrecision),
            isinstance(metadata.takes_pixels, bool),
            isinstance(metadata.weights_sha256, str),
            batch is None or (isinstance(batch, int) and batch > 0),
        )
        if not all(checks):
            raise ValueError(
                f"{metadata.precision!r}, {metadata.takes_pixels!r}, {metadata.weights_sha256!r}, {batch!r}"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"The metadata of {path} is damaged ({error!r}). Get the file again.") from error
    return metadata
