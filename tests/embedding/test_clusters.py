"""Chunks embedded on a Ray cluster: what a worker does, and a cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.embedding.colours import colour_embedder
from tests.embedding.ray_cluster import kill_one_process, two_nodes
from tests.ports import free_port, wait_for_port

from omnireid.cli import main
from omnireid.embedding import jobs
from omnireid.embedding.clusters import ChunkOfCrops, ChunkWorker
from omnireid.embedding.embedder import Embedder, load_embedder
from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.options import RuntimeOptions
from omnireid.errors import ImageError, ModelError, SettingError
from omnireid.files import atomic_output
from omnireid.types import Crops
from omnireid.weights.shipped import DEFAULT_WEIGHTS


@pytest.fixture
def embedder(untrained: Path) -> Embedder:
    return load_embedder(untrained, RuntimeOptions(runtime="onnxruntime", precision="fp32", threads=1))


@pytest.fixture
def crops(tmp_path: Path) -> Crops:
    """Three hundred crops, one of which cannot be read."""
    folder = tmp_path / "crops"
    folder.mkdir()
    paths = tuple(folder / f"{number:03d}.png" for number in range(300))
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 16), (number % 256, 255 - number % 256, number // 2)).save(path)
    paths[77].write_bytes(b"no image")
    return Crops(paths, np.arange(300) // 4, np.arange(300) % 4, {"note": [f"crop {number}" for number in range(300)]})


def ask(worker: ChunkWorker, *chunks: ChunkOfCrops) -> dict[str, list[Any]]:
    contents = np.array([pickle.dumps(chunk) for chunk in chunks], dtype=object)
    return worker({"chunk": np.arange(len(chunks)), "content": contents})


def test_a_worker_makes_the_part_that_one_process_makes(
    tmp_path: Path, crops: Crops, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, bytes] = {}
    monkeypatch.setattr(
        jobs, "remove_tree", lambda folder: kept.update({f.name: f.read_bytes() for f in folder.iterdir()})
    )
    first = crops.select(range(40))
    embed_to_parquet(embedder, first, tmp_path / "out.parquet", chunk_size=20)
    fingerprint = pq.read_schema(pa_file(kept["000000020.parquet"])).metadata[b"omnireid"]
    chunk = ChunkOfCrops(first.select(range(20, 40)), json.loads(fingerprint)["job"])
    worker = ChunkWorker(pickle.dumps(embedder), str(tmp_path), embedder.network.batch_size, skip_unreadable=False)
    answer = ask(worker, chunk)
    assert answer["part"] == [kept["000000020.parquet"]]
    assert answer["error"] == [""]


def pa_file(content: bytes) -> Any:
    import pyarrow as pa

    return pa.BufferReader(content)


def test_an_error_of_the_embedding_is_an_answer(tmp_path: Path, crops: Crops, embedder: Embedder) -> None:
    worker = ChunkWorker(pickle.dumps(embedder), str(tmp_path), 8, skip_unreadable=False)
    answer = ask(worker, ChunkOfCrops(crops.select([76, 77]), "f"), ChunkOfCrops(crops.select([78]), "g"))
    assert answer["error"] == ["ImageError", ""]
    assert "077.png is not a JPEG" in answer["message"][0]


@pytest.mark.parametrize("cluster", ["", "here", "ray://", "http://head:10001", "ray://head:x"])
def test_names_that_are_no_cluster(tmp_path: Path, crops: Crops, embedder: Embedder, cluster: str) -> None:
    with pytest.raises(SettingError, match=r"cluster \(--ray\) is auto, or an address such as ray://head:10001"):
        embed_to_parquet(embedder, crops, tmp_path / "out.parquet", cluster=cluster)


def test_an_embedder_that_no_worker_can_open_is_refused(tmp_path: Path, crops: Crops) -> None:
    with pytest.raises(ModelError, match="has to come from load_embedder"):
        embed_to_parquet(colour_embedder(), crops, tmp_path / "out.parquet", cluster="auto")


def test_nothing_at_an_address_is_said_at_once(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["embed", str(crop_folder), "--weights", str(untrained), "--runtime", "onnxruntime"]
    assert main([*words, "--output", str(tmp_path / "out.parquet"), "--ray", "ray://127.0.0.1:9"]) == 2
    assert "Nothing answers at ray://127.0.0.1:9: [Errno 111] Connection refused" in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()


@pytest.fixture
def connected() -> Iterator[None]:
    with two_nodes():
        yield


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("connected")
def test_two_nodes_give_the_file_of_one_process_also_when_a_worker_is_killed(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = load_embedder(DEFAULT_WEIGHTS, RuntimeOptions(runtime="onnxruntime", precision="fp32"))
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    embed_to_parquet(embedder, crops, here, chunk_size=8, skip_unreadable=True)
    with pytest.raises(ImageError, match=r"077\.png is not a JPEG"):
        embed_to_parquet(embedder, crops, there, chunk_size=8, cluster="auto")
    shutil.rmtree(tmp_path / ".there.parquet.parts", ignore_errors=True)
    written: list[str] = []
    killed: list[int] = []

    def write(path: Path) -> Any:
        written.append(path.name)
        if len(written) == 3:
            killed.append(kill_one_process())
        return atomic_output(path)

    monkeypatch.setattr(jobs, "atomic_output", write)
    summary = embed_to_parquet(embedder, crops, there, chunk_size=8, skip_unreadable=True, cluster="auto")
    assert len(killed) == 1
    assert killed[0]
    assert len(written) == len(set(written)) == 38 + 1  # every part once, and the output
    assert (summary.embedded, summary.found_done, len(summary.skipped)) == (299, 0, 1)
    assert there.read_bytes() == here.read_bytes()


@pytest.fixture
def client_address() -> Iterator[str]:
    """The address of a cluster of this machine that takes clients."""
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    port = free_port()
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", str(free_port())]
    words += ["--node-ip-address", "127.0.0.1", "--ray-client-server-port", str(port), "--num-cpus", "2"]
    words += ["--include-dashboard", "false", "--object-store-memory", str(100 * 2**20)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as head:
        try:
            wait_for_port(port)
            yield f"ray://127.0.0.1:{port}"
        finally:
            head.terminate()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_client_at_an_address_gets_the_same_file_also_when_what_serves_it_is_killed(
    tmp_path: Path, crops: Crops, client_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = load_embedder(DEFAULT_WEIGHTS, RuntimeOptions(runtime="onnxruntime", precision="fp32"))
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    embed_to_parquet(embedder, crops, here, chunk_size=20, skip_unreadable=True)
    killed: list[int] = []

    def write(path: Path) -> Any:
        if not killed:
            killed.append(kill_one_process("ray::ChunkRunner"))
        return atomic_output(path)

    monkeypatch.setattr(jobs, "atomic_output", write)
    embed_to_parquet(embedder, crops, there, chunk_size=20, skip_unreadable=True, cluster=client_address)
    assert len(killed) == 1
    assert killed[0]
    assert there.read_bytes() == here.read_bytes()
