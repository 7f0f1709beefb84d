"""What reads bytes of strangers, with bytes that it takes to begin with. `reader_fuzz.py` changes these.

Every target takes any bytes, and either succeeds or raises an error of the library: anything else is a defect.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from omnireid import Crops, EmbeddingTable, Gallery, OmnireidError, read_embeddings
from omnireid.data.manifest import list_manifest
from omnireid.embedding.boxes import embed_boxes
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.network import Network
from omnireid.embedding.tables import Provenance, write_embeddings
from omnireid.gallery.conditions import parse_condition, to_sql
from omnireid.gallery.times import parse_time
from omnireid.images.preprocess import Preprocessing
from omnireid.retrieval.calibration import read_calibration
from omnireid.service.app import create_app
from omnireid.service.options import ServiceOptions
from omnireid.service.server import open_backend
from omnireid.service.uploads import MOST_PIXELS, check_upload, decode_upload, media_type_of
from omnireid.tracking.detection_files import read_detection_table
from omnireid.tracking.detector import load_detector
from omnireid.tracking.mot_files import read_detections, read_tracks
from omnireid.tracking.track_table import TrackTable, read_track_table, write_track_table
from omnireid.types import AnyArray
from omnireid.weights.artefact import WeightsMetadata, read_artefact, write_artefact
from omnireid.weights.checkpoint_file import read_checkpoint
from omnireid.weights.foreign_graph import adopt_graph
from omnireid.weights.graph_file import read_graph
from omnireid.weights.openvino_xml import read_outline

BOUNDARY = "0123456789abcdef"
_BOX_BYTES = 32


@dataclass(frozen=True)
class Target:
    """A reader of untrusted bytes.

    Attributes:
        seeds: Bytes to begin with, given a folder to make files in.
        open: Makes the function that reads bytes, given a folder of its own.
    """

    seeds: Callable[[Path], list[bytes]]
    open: Callable[[Path], contextlib.AbstractContextManager[Callable[[bytes], object]]]


def of_bytes(read: Callable[[bytes], object]) -> Callable[[Path], Any]:
    """A reader that needs no folder."""

    @contextlib.contextmanager
    def opened(_folder: Path) -> Iterator[Callable[[bytes], object]]:
        yield read

    return opened


def of_file(name: str, *readers: Callable[[Path], object]) -> Callable[[Path], Any]:
    """Readers of a file, each of which reads it."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[Callable[[bytes], object]]:
        file = folder / name

        def read(content: bytes) -> None:
            file.write_bytes(content)
            for reader in readers:
                with contextlib.suppress(OmnireidError):
                    reader(file)

        yield read

    return opened


def drawn_picture(format_name: str, **options: Any) -> bytes:
    """A small picture with detail."""
    pixels = np.random.default_rng(3).integers(0, 255, (48, 24, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=format_name, **options)
    return stream.getvalue()


def pictures(_folder: Path) -> list[bytes]:
    """A picture of each kind that the service takes."""
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: tuple[dict[str, Any], ...] = ({}, {"progressive": True}, {"exif": exif})
    jpegs = [drawn_picture("JPEG", **options) for options in kinds]
    return [*jpegs, drawn_picture("PNG"), drawn_picture("WEBP"), drawn_picture("WEBP", lossless=True)]


def read_picture(content: bytes) -> None:
    """What the service does with a picture, within its limits."""
    pixels = decode_upload(check_upload(content, media_type_of(content)))
    assert pixels.shape[0] * pixels.shape[1] <= MOST_PIXELS, pixels.shape


def form_of(parts: dict[str, bytes], crop: bytes | None) -> bytes:
    """The body of a form."""
    lines = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + parts[name]
        for name in parts
    ]
    if crop is not None:
        head = 'Content-Disposition: form-data; name="crop"; filename="c.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        head = f"--{BOUNDARY}\r\n{head}"
        lines.append(head.encode() + crop)
    return b"\r\n".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


def forms(_folder: Path) -> list[bytes]:
    """Forms of a search and of an addition."""
    crop = drawn_picture("JPEG", quality=30)
    added = {"camera": b"3", "time": b"2026-03-01T08:00:00Z", "box_xyxy": b"1 2 30 40", "columns": b'{"bag": "red"}'}
    searched = {"count": b"3", "where": b"bag = 'red'", "since": b"2026-03-01T08:00:00Z", "cameras": b"1"}
    return [
        form_of(added, crop),
        form_of(searched, crop),
        form_of({"person": b"1"}, None),
        form_of({"sighting": b"1"}, None),
    ]


def small_embedder() -> Embedder:
    """A model that needs no weights: a crop's embedding is its mean colour."""
    network = Network("onnxruntime", "fp32", "cpu", lambda pixels: pixels.mean(axis=(1, 2), dtype=np.float32))
    metadata = WeightsMetadata("means", embedding_dimension=3, preprocessing=Preprocessing(64, 32))
    return Embedder(metadata, Path("means.safetensors"), "cd" * 32, network)


@contextlib.contextmanager
def asked_service(folder: Path) -> Iterator[Callable[[bytes], object]]:
    """Sends a body to both routes that take a form with a picture; none may answer with 500."""
    crop = folder / "1.jpg"
    crop.write_bytes(drawn_picture("JPEG"))
    Gallery.open(folder / "g", small_embedder()).add(Crops((crop,), np.array([1]), np.array([1]), {"bag": ["red"]}))
    options = ServiceOptions(keep_crops=folder / "kept", requests_per_second=1e9)
    app = create_app(open_backend(str(folder / "g"), small_embedder(), options))
    headers = [(b"host", b"localhost"), (b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]

    async def ask(path: str, body: bytes) -> int:
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": path,
        }
        scope |= {"raw_path": path.encode(), "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1)}
        scope |= {"server": ("localhost", 80), "scheme": "http", "root_path": ""}
        messages = [{"type": "http.request", "body": body}]
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app(scope, receive, send)  # type: ignore[arg-type]
        return statuses[0]

    with asyncio.Runner() as runner:
        app.state.backend.start()

        def read(content: bytes) -> None:
            for path in ("/v1/search", "/v1/sightings"):
                status = runner.run(ask(path, content))
                assert status < 500, f"{path} answered {status}"

        yield read
        app.state.backend.stop()


def boxes(_folder: Path) -> list[bytes]:
    """Boxes as float64, four each."""
    values = ([1, 2, 20, 40], [0, 0, 24, 48, -5, -5, 3, 3], [1e300, -1e300, 5, 5], [-0.0, 0.5, 1.5, 2.5])
    return [np.array(numbers, dtype=np.float64).tobytes() for numbers in values]


def read_boxes(content: bytes) -> None:
    """Boxes of a frame: the embeddings must be as many, and the valid ones must have pixels."""
    given = np.frombuffer(content[: len(content) // _BOX_BYTES * _BOX_BYTES], dtype=np.float64).reshape(-1, 4)
    frame = np.zeros((48, 24, 3), dtype=np.uint8)

    def embed(crops: Any) -> Any:
        assert all(crop.size for crop in crops)
        return np.zeros((len(crops), 3), dtype=np.float32)

    assert len(embed_boxes(embed, frame, given, "bgr")) == len(given)


def parquet_of(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="none")
    return stream.getvalue()


def manifests(_folder: Path) -> list[bytes]:
    """Manifests as text."""
    return [
        b"path,person_id,camera_id,split\nm.csv,1,2,query\nm.csv,anna,c3,gallery\n",
        b"path\nm.csv\n",
        b'path,person_id,time\n"m.csv",-1,"2026-03-01T08:00:00Z"\n',
    ]


def manifest_tables(_folder: Path) -> list[bytes]:
    """Manifests as Parquet."""
    return [parquet_of(pa.table({"path": ["m.parquet"] * 2, "person_id": [1, 2], "bag": ["red", None]}))]


def detection_texts(_folder: Path) -> list[bytes]:
    """Detections and tracks of MOTChallenge."""
    return [b"1,-1,10,20,30,40,0.9\n2,-1,1e2,2.5,30,40,1,-1,-1,-1\n", b"1,1,10,20,30,40,1,1,0.5\n"]


def detection_tables(_folder: Path) -> list[bytes]:
    """Detections as Parquet."""
    edges = {"left": [1.0, 2.0], "top": [1.0, 2.0], "right": [9.0, 9.0], "bottom": [9.0, 9.0]}
    lists = {"box_xyxy": [[1.0, 2.0, 3.0, 4.0]], "score": [0.5]}
    return [parquet_of(pa.table({"frame": [0, 1], **edges})), parquet_of(pa.table({"frame": [0], **lists}))]


def track_tables(folder: Path) -> list[bytes]:
    """A table of tracks without any."""
    write_track_table(folder / "seed.parquet", TrackTable((), {}, {}))
    return [(folder / "seed.parquet").read_bytes()]


def embedding_tables(folder: Path) -> list[bytes]:
    """A table of embeddings."""
    crops = Crops((Path("a.jpg"), Path("b.jpg")), np.array([1, 2]), np.array([1, 1]))
    provenance = Provenance("ab" * 32, "osnet_x0_25", {"height": 64}, "euclidean", "Apache-2.0", "0")
    write_embeddings(EmbeddingTable(crops, np.ones((2, 4), dtype=np.float32), provenance), folder / "seed.parquet")
    return [(folder / "seed.parquet").read_bytes()]


def artefacts(folder: Path) -> list[bytes]:
    """A file of weights, with two small tensors."""
    metadata = WeightsMetadata("osnet_x0_25", embedding_dimension=512)
    tensors: dict[str, AnyArray] = {"a": np.ones((2, 3), dtype=np.float32), "b": np.zeros(2, dtype=np.int64)}
    write_artefact(folder / "seed.safetensors", tensors, metadata)
    return [(folder / "seed.safetensors").read_bytes()]


def pickles(_folder: Path) -> list[bytes]:
    """Pickles as old checkpoints have them."""
    content = OrderedDict(state_dict={"a": [1, 2.5, "x"], "b": (None, True, 2**70)}, epoch=3)
    return [pickle.dumps(content, protocol) for protocol in (0, 2, 4)]


def onnx_graphs(_folder: Path) -> list[bytes]:
    """A graph of one node, with the metadata of ours."""
    value = onnx.helper.make_tensor_value_info
    ends = [value("i", onnx.TensorProto.FLOAT, [1])], [value("o", onnx.TensorProto.FLOAT, [1])]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["i"], ["o"])], "g", *ends)
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {"omnireid": json.dumps({"format": 1, "architecture": "osnet_x0_25"})})
    return [model.SerializeToString()]


def openvino_texts(_folder: Path) -> list[bytes]:
    """The XML of an OpenVINO graph."""
    return [
        b'<?xml version="1.0"?><net name="g" version="11"><layers><layer id="0" type="Const">'
        b'<data offset="0" size="4"/></layer></layers><rt_info><omnireid value="{}"/></rt_info></net>'
    ]


def conditions(_folder: Path) -> list[bytes]:
    """Conditions and times."""
    return [
        b"bag = 'red' and not (age >= 3 or seen is none)",
        b"bag in ('a', 'b''c')",
        b"2026-03-01T08:00:00+01:00",
        b"age < -1e3",
    ]


def read_condition(content: bytes) -> None:
    """A condition, as SQL, and a time."""
    text = content.decode("utf-8", "surrogateescape")
    with contextlib.suppress(OmnireidError):
        to_sql(parse_condition(text, {"bag": "text", "age": "whole numbers", "seen": "times"}))
    parse_time(text, "time")


def calibrations(_folder: Path) -> list[bytes]:
    """Something like a calibration."""
    return [
        json.dumps(
            {"format": 1, "weights_sha256": "ab" * 32, "distance": "cosine", "prior": 0.5, "curves": []}
        ).encode()
    ]


TARGETS = {
    "picture": Target(pictures, of_bytes(read_picture)),
    "form": Target(forms, asked_service),
    "boxes": Target(boxes, of_bytes(read_boxes)),
    "manifest": Target(manifests, of_file("m.csv", list_manifest)),
    "manifest-table": Target(manifest_tables, of_file("m.parquet", list_manifest)),
    "detections": Target(detection_texts, of_file("d.txt", read_detections, read_tracks)),
    "detection-table": Target(detection_tables, of_file("d.parquet", read_detection_table)),
    "tracks": Target(track_tables, of_file("t.parquet", read_track_table)),
    "embeddings": Target(embedding_tables, of_file("e.parquet", read_embeddings)),
    "weights": Target(artefacts, of_file("w.safetensors", read_artefact, read_checkpoint)),
    "pickle": Target(pickles, of_file("w.pth", read_checkpoint)),
    "onnx": Target(onnx_graphs, of_file("w.onnx", read_graph, adopt_graph, load_detector)),
    "openvino": Target(openvino_texts, of_bytes(lambda content: read_outline(content, "the graph"))),
    "condition": Target(conditions, of_bytes(read_condition)),
    "calibration": Target(calibrations, of_file("c.json", read_calibration)),
}
