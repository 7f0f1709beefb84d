"""An embedder in other processes: forked from the one that loaded it, or given it by pickle."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.embedding.colours import colour_embedder

from omnireid import Embedder, load_embedder
from omnireid.embedding.options import RuntimeName, RuntimeOptions
from omnireid.errors import CheckpointError, ModelError, WeightsNotFoundError
from omnireid.images.probes import probe_crops

pytestmark = pytest.mark.usefixtures("two_cores")

PIXELS = probe_crops(40, 64, 32)  # enough for several streams
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def load(weights: Path, runtime: RuntimeName) -> Embedder:
    return load_embedder(weights, RuntimeOptions(runtime=runtime, precision="fp32", device="cpu"))


def in_a_fork(work: Callable[[], str]) -> str:
    """What `work` returns in a fork of this process, or the error it raises there. A hang ends it after a minute."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        signal.alarm(60)
        try:
            answer = work()
        except Exception as error:  # noqa: BLE001
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        answer = stream.read()
    _, status = os.waitpid(process, 0)
    assert status == 0, "the forked process hung"
    return answer


@needs_fork
def test_onnx_runtime_goes_on_after_a_fork(untrained: Path) -> None:
    embedder = load(untrained, "onnxruntime")
    expected = embedder.embed(PIXELS)  # its threads are at work, for streams and for a single batch
    assert np.array_equal(embedder.embed(PIXELS[:2]), expected[:2])

    def work() -> str:
        return str(np.array_equal(embedder.embed(PIXELS), expected) and embedder.embed(PIXELS[:2]).shape)

    assert in_a_fork(work) == "(2, 512)"


@needs_fork
@pytest.mark.parametrize("runtime", ["openvino", pytest.param("torch", marks=pytest.mark.slow)])
def test_other_runtimes_say_that_they_do_not_survive_a_fork(untrained: Path, runtime: RuntimeName) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        embedder = load(untrained, runtime)
        embedder.embed(PIXELS)
        for count in (2, 40):
            answer = in_a_fork(lambda count=count: str(embedder.embed(PIXELS[:count])))  # type: ignore[misc]
            assert answer.startswith("ModelError: This network was loaded before the process was forked")
            assert f"{runtime} (" in answer
            assert "Load it in each process after the fork" in answer
        answer = in_a_fork(lambda: str(load(untrained, runtime).embed(PIXELS).shape))
        started = "OpenVINO was started before this process was forked"
        expected = started if runtime == "openvino" else "This network was loaded before"
        assert answer.startswith(f"ModelError: {expected}")
    finally:
        torch.set_num_threads(before)


@needs_fork
def test_torch_with_one_thread_survives_a_fork(untrained: Path) -> None:
    assert torch.get_num_threads() == 1  # as the tests set it
    embedder = load(untrained, "torch")
    expected = embedder.embed(PIXELS)
    assert in_a_fork(lambda: str(np.array_equal(embedder.embed(PIXELS), expected))) == "True"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_a_pickled_embedder_opens_its_weights_again(untrained: Path, runtime: RuntimeName) -> None:
    options = RuntimeOptions(runtime=runtime, device="cpu", batch_size=5)
    embedder = load_embedder(untrained, options)
    again = pickle.loads(pickle.dumps(embedder))
    assert (again.runtime, again.precision, again.batch_size) == (runtime, embedder.precision, 5)
    assert again.weights_sha256 == embedder.weights_sha256
    assert np.array_equal(again.embed(PIXELS[:3]), embedder.embed(PIXELS[:3]))


@pytest.mark.slow
def test_a_choice_is_pickled_and_not_made_again(untrained: Path) -> None:
    embedder = load_embedder(untrained, RuntimeOptions(device="cpu"))
    again = pickle.loads(pickle.dumps(embedder))
    assert (again.runtime, again.precision) == (embedder.runtime, embedder.precision)


def embed_there(embedder: Embedder) -> Any:
    return embedder.embed(PIXELS)


@pytest.mark.slow
def test_a_spawned_process_can_be_given_an_embedder(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(untrained.parent)
    embedder = load(Path(untrained.name), "onnxruntime")
    monkeypatch.chdir("/")  # a relative path still names the same file
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes:
        assert np.allclose(processes.submit(embed_there, embedder).result(), embedder.embed(PIXELS), atol=1e-5)


def test_weights_that_changed_or_went_are_not_opened_again(tmp_path: Path, untrained: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(untrained.read_bytes())
    pickled = pickle.dumps(load(weights, "onnxruntime"))
    weights.write_bytes(untrained.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=r"w\.safetensors has changed since the embedder was pickled"):
        pickle.loads(pickled)
    weights.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"w\.safetensors, which are not there"):
        pickle.loads(pickled)


def test_only_what_load_embedder_made_is_pickled() -> None:
    embedder = colour_embedder()
    with pytest.raises(ModelError, match="Only an embedder made by load_embedder can be pickled"):
        pickle.dumps(embedder)
    assert copy.copy(embedder) is embedder
    assert copy.deepcopy(embedder) is embedder


NO_HOME = """
import os, pwd, sys
def nobody(_user): raise KeyError("getpwuid(): uid not found: 12345")
pwd.getpwuid = nobody
for name in ("HOME", "USER", "LOGNAME", "OMNIREID_CACHE"): os.environ.pop(name, None)
if len(sys.argv) > 2: os.environ["OMNIREID_CACHE"] = sys.argv[2]
import numpy as np
from omnireid import load_embedder
embedder = load_embedder(sys.argv[1])
assert embedder.embed([np.zeros((8, 4, 3), np.uint8)]).shape == (1, 512)
print(embedder.choice)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="other systems know a home directory by other means")
@pytest.mark.parametrize("has_cache", [True, False])
def test_a_user_without_a_home_directory_embeds(tmp_path: Path, untrained: Path, has_cache: bool) -> None:
    words = [sys.executable, "-c", NO_HOME, str(untrained), *([str(tmp_path / "cache")] if has_cache else [])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("runtime onnxruntime fp32: the only one here that works; not openvino fp32")
    assert "openvino, which is installed but cannot be imported: Could not determine home directory\n" in done.stdout
