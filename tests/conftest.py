"""What many tests share: the folder of real data, and small drawn crops."""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from omnireid import create_model
from omnireid.images.preprocess import Preprocessing
from omnireid.weights.artefact import WeightsMetadata, write_artefact

if TYPE_CHECKING:
    from torch import Tensor

# Small networks gain nothing from threads, and lose a factor of ten where other processes want the cores.
# Set before torch is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What runtime="auto" finds out is remembered in the cache: the tests have one of their own.
os.environ["OMNIREID_CACHE"] = tempfile.mkdtemp(prefix="omnireid-tests-")
atexit.register(shutil.rmtree, os.environ["OMNIREID_CACHE"], ignore_errors=True)

GOLDEN = Path(__file__).resolve().parent / "golden"
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and public weights; skipped where it is missing, a failure in CI."""
    if not SHARED.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{SHARED} is missing, and CI must have it")
        pytest.skip(f"needs {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def crop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn crops of three people by two cameras, under Market-1501 names."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    for person in (1, 2, 3):
        colour = rng.integers(0, 255, 3)
        for camera in (1, 2):
            for frame in (1, 2):
                noise = rng.integers(-20, 20, (64, 32, 3))
                pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{person:04d}_c{camera}s1_{frame:06d}_00.jpg", quality=95)
    return folder


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact of osnet_x0_25 with random weights, for small and so fast crops of 64 × 32."""
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    tensors = {name: tensor.numpy() for name, tensor in create_model("osnet_x0_25").state_dict().items()}
    metadata = WeightsMetadata(
        "osnet_x0_25", 512, preprocessing=Preprocessing(64, 32), training_data="none", licence="Apache-2.0"
    )
    write_artefact(path, tensors, metadata)
    return path


@pytest.fixture(scope="session")
def untrained_int8(untrained: Path) -> bytes:
    """The content of an ONNX file: the graph of those weights in int8."""
    from tests.quantised import quantise_once

    from omnireid.embedding.weights_file import WeightsFile
    from omnireid.weights.graph_file import GraphMetadata, seal_onnx

    source = WeightsFile(untrained)
    metadata = GraphMetadata(source.metadata, "int8", weights_sha256=source.sha256)
    return seal_onnx(quantise_once(source.graph.content), metadata)


def _load_module(path: Path) -> ModuleType:
    """Import a script by its path, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def rule() -> ModuleType:
    return _load_module(GOLDEN / "weights_by_rule.py")


@pytest.fixture(scope="session")
def reid_keys() -> ModuleType:
    return _load_module(GOLDEN / "reid_keys.py")


@pytest.fixture(scope="session")
def baseline_keys() -> ModuleType:
    return _load_module(GOLDEN / "baseline_keys.py")


@pytest.fixture(scope="session")
def original_rule(shared: Path) -> ModuleType:
    """The script that `rule` is a copy of."""
    return _load_module(shared / "golden" / "weights_by_rule.py")


@pytest.fixture(scope="session")
def published_state(rule: ModuleType) -> Callable[[str], dict[str, Tensor]]:
    """A published layout, 751 classes, with weights by rule; a fresh dict at each call."""
    made: dict[str, dict[str, Tensor]] = {}

    def state(variant: str) -> dict[str, Tensor]:
        if variant not in made:
            import torch

            made[variant] = {key: torch.from_numpy(array) for key, array in rule.state_dict(variant).items()}
        return dict(made[variant])

    return state


@pytest.fixture(scope="session")
def small_state(published_state: Callable[[str], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The published osnet_x0_25, the smallest one."""
    return published_state("osnet_x0_25")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of moto's S3 server on this machine."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, bytes]]:
    """An empty bucket, named by environment variables; the function gives all its objects."""
    import boto3
    from s3fs import S3FileSystem

    variables = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in (variables | {"ENDPOINT_URL": endpoint, "DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    client: Any = boto3.client("s3", endpoint_url=endpoint)
    S3FileSystem.clear_instance_cache()  # one of an earlier test has that test's settings

    def objects() -> dict[str, bytes]:
        listed = client.list_objects_v2(Bucket="pictures").get("Contents", [])
        return {one["Key"]: client.get_object(Bucket="pictures", Key=one["Key"])["Body"].read() for one in listed}

    client.create_bucket(Bucket="pictures")
    for key in objects():
        client.delete_object(Bucket="pictures", Key=key)
    client.put_object(Bucket="pictures", Key="site/people2/other", Body=b"of nobody here")
    return objects
