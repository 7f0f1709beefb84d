from __future__ import annotations

import argparse
import collections
import os
import pathlib
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file as save_safetensors
from tests.weights.torch_writer import write_checkpoint
from torch import Tensor

from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import CheckpointError, UnsafeCheckpointError, WeightsNotFoundError
from omnireid.weights.checkpoint_file import read_checkpoint
from omnireid.weights.torch_file import conversion_snippet, read_torch_file
from omnireid.weights.torch_names import LEFT_OUT

STATE = {"conv1.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.ones(4), "fc.weight": torch.zeros(4, 3)}


def save(path: Path, content: Any, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def same(found: Any, expected: dict[str, Tensor]) -> bool:
    return list(found) == list(expected) and all(
        found[key].shape == tuple(expected[key].shape) and np.array_equal(found[key].as_stored(), expected[key].numpy())
        for key in expected
    )


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path, call: Any = pathlib.Path.touch) -> None:
        self.marker, self.call = marker, call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self.call is os.system:
            return os.system, (f"touch {self.marker}",)
        if self.call is exec:
            return exec, (f"open({str(self.marker)!r}, 'w').close()",)
        return self.call, (self.marker,)


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats(tmp_path: Path, legacy: bool) -> None:
    file = read_checkpoint(save(tmp_path / "w.pth", STATE, legacy=legacy))
    assert same(file.tensors, STATE)
    assert file.source_format == ("legacy" if legacy else "zip")
    assert (file.wrapper, file.prefix, file.beside) == ("", "", ())


@pytest.mark.parametrize(
    ("wrapped", "wrapper"),
    [
        ({"state_dict": STATE}, "state_dict"),
        ({"model": STATE}, "model"),
        ({"net": STATE}, "net"),
        ({"model_state_dict": STATE}, "model_state_dict"),
        ({"anything": STATE}, "anything"),
        ({"model": {"state_dict": STATE}}, "model.state_dict"),
        (collections.OrderedDict(state_dict=collections.OrderedDict(STATE)), "state_dict"),
        # The named wrapper wins over a moving average of the same size, and over a larger optimizer state.
        ({"ema": {key: tensor + 1 for key, tensor in STATE.items()}, "state_dict": STATE}, "state_dict"),
        (
            {"optimizer": {"state": {i: {f"m{j}": torch.ones(2) for j in range(9)} for i in range(9)}}, "net": STATE},
            "net",
        ),
        # A stray tensor beside the weights is not the weights.
        ({"loss": torch.tensor(0.5), "state_dict": STATE}, "state_dict"),
    ],
)
def test_wrappers(tmp_path: Path, wrapped: Any, wrapper: str) -> None:
    file = read_checkpoint(save(tmp_path / "w.pth.tar", wrapped))
    assert same(file.tensors, STATE)
    assert file.wrapper == wrapper
    assert set(file.beside) == {str(key) for key in wrapped} - {wrapper.split(".", maxsplit=1)[0]}


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "module.model.", "_orig_mod.module."])
def test_prefixes(tmp_path: Path, prefix: str) -> None:
    content = {prefix + key: tensor for key, tensor in STATE.items()}
    file = read_checkpoint(save(tmp_path / "w.pt", content))
    assert same(file.tensors, STATE)
    assert file.prefix == prefix


def test_a_prefix_of_most_keys_goes_and_the_others_stay(tmp_path: Path) -> None:
    content = {f"backbone.{key}": tensor for key, tensor in STATE.items()} | {"classifier.bias": torch.ones(2)}
    file = read_checkpoint(save(tmp_path / "w.pt", content))
    assert same(file.tensors, {**STATE, "classifier.bias": torch.ones(2)})


def test_a_key_never_overwrites_another(tmp_path: Path) -> None:
    content = {f"module.{key}": tensor for key, tensor in STATE.items()} | {"fc.bias": torch.zeros(1)}
    file = read_checkpoint(save(tmp_path / "w.pt", content))
    assert set(file.tensors) == {*STATE, "module.fc.bias"}
    assert file.tensors["fc.bias"].shape == (1,)


@pytest.mark.parametrize(
    ("keys", "prefix", "expected"),
    [
        (["a", "model.a", "model.model.a"], "", {"a", "model.a", "model.model.a"}),
        (["model.model.a", "model.a", "a"], "", {"a", "model.a", "model.model.a"}),
        (["module.a", "module.model.a", "module.model.model.a"], "module.", {"a", "model.a", "model.model.a"}),
    ],
)
def test_keys_that_stand_in_each_others_way_keep_their_prefix(
    tmp_path: Path, keys: list[str], prefix: str, expected: set[str]
) -> None:
    file = read_checkpoint(save(tmp_path / "w.pt", {key: torch.ones(1) for key in keys}))
    assert set(file.tensors) == expected
    assert file.prefix == prefix


@pytest.mark.parametrize("legacy", [False, True])
def test_numpy_values_beside_the_weights_do_no_harm(tmp_path: Path, legacy: bool) -> None:
    content = {
        "state_dict": STATE,
        "epoch": 3,
        "rank1": np.float64(0.9),
        "cmc": np.ones(5),
        "args": {"lr": np.float32(1)},
    }
    file = read_checkpoint(save(tmp_path / "w.pth", content, legacy=legacy))
    assert same(file.tensors, STATE)
    assert file.beside == ("epoch", "rank1", "cmc", "args")


def test_a_numpy_type_from_a_file_is_never_built(tmp_path: Path) -> None:
    # numpy.dtype may look at a stranger's bytes as pointers: nothing is made of a file that asks for one.
    pointers = np.dtype([("pointer", "O")])
    content = read_torch_file(save(tmp_path / "w.pth", {"state_dict": STATE, "d": pointers, "a": np.ones(3)})).content
    assert isinstance(content, dict)
    assert content["d"] is content["a"] is LEFT_OUT


@pytest.mark.parametrize("call", [pathlib.Path.touch, os.system, exec])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle 0", "pickle 2", "pickle 5"])
def test_code_in_a_pickle_is_named_and_never_runs(tmp_path: Path, call: Any, how: str) -> None:
    marker, path = tmp_path / "it-ran", tmp_path / "w.pth"
    content = {"state_dict": STATE, "payload": Touch(marker, call)}
    if how.startswith("pickle"):
        path.write_bytes(pickle.dumps({"payload": Touch(marker, call)}, protocol=int(how[-1])))
    else:
        save(path, content, legacy=how == "legacy")
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(path)
    assert not marker.exists()
    message = str(caught.value)
    wanted = {pathlib.Path.touch: "pathlib", os.system: "posix.system", exec: "exec"}[call]
    assert wanted in message.split("asks for")[1].split(". Bare weights", maxsplit=1)[0]
    assert "Nothing in it was run" in message
    assert "torch.save(" in message
    pickle.loads(pickle.dumps(Touch(marker, call)))  # the payload is live: unpickled, it does run
    assert marker.exists()


def test_every_class_of_a_refused_file_is_named(tmp_path: Path) -> None:
    args = argparse.Namespace(rate=0.1, decay=collections.deque([1]))
    path = save(tmp_path / "w.pth", {"state_dict": STATE, "args": args})
    with pytest.raises(UnsafeCheckpointError, match=r"asks for argparse\.Namespace, collections\.deque\. Bare weights"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", ["namespace", "model", "wrapped model", "bare"])
def test_the_snippet_converts_a_trusted_file(tmp_path: Path, content: str) -> None:
    model = torch.nn.Linear(3, 2)
    saved: Any = {
        "namespace": {"state_dict": model.state_dict(), "args": argparse.Namespace(rate=0.1)},
        "model": model,
        "wrapped model": {"model": model, "epoch": 3},
        "bare": {**model.state_dict(), "args": argparse.Namespace()},
    }[content]
    path, target = save(tmp_path / "w.pth.tar", saved), tmp_path / "w-weights.pth"
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(path)
    snippet = conversion_snippet(path, target)
    assert str(caught.value).endswith(snippet)
    exec("\n".join(line.strip() for line in snippet.splitlines()), {})
    assert same(read_checkpoint(target).tensors, dict(model.state_dict()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\).*Get the file again"),
        (b"conv1 weights\nof a network\n", r"is text, not weights\. It starts with 'conv1 weights"),
        (
            b"<!DOCTYPE html><html>Too many requests</html>",
            r"is a web page: the download failed\. It starts with '<!DOCTYPE",
        ),
        ("ça n'est pas un modèle ".encode() * 30, r"is text, not weights"),
        (bytes(range(128, 256)) * 9, r"\(1,152 bytes\) cannot be read as a checkpoint.*The reader stopped at:"),
        (pickle.dumps([1, 2]), r"is a plain pickle, as Python 2 and pickle\.dump write them.*encoding='latin1'"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert type(caught.value) is CheckpointError
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("word/document.xml", r"zip archive that torch\.save did not write\. It holds word/document\.xml"),
        ("best/OSNet.PTH", r"is a zip archive that holds best/OSNet\.PTH\. Unpack it"),
    ],
)
def test_a_zip_of_something_else(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "<xml/>")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_a_torchscript_archive(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated; people still have its files
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(CheckpointError, match=r"is a TorchScript archive.*torch\.jit\.load\(path\)\.state_dict"):
        read_checkpoint(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(legacy=st.booleans(), part=st.floats(0, 1, exclude_max=True))
def test_no_start_of_a_file_passes_for_a_file(tmp_path: Path, legacy: bool, part: float) -> None:
    whole = save(tmp_path / "whole.pth", STATE, legacy=legacy).read_bytes()
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(cut)
    assert type(caught.value) is CheckpointError


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.ones(2)], "a list was found"),
        (torch.ones(2), "a Tensor was found"),
        ({"epoch": 3, "lr": 0.1}, r"a dict with the keys 'epoch', 'lr' was found"),
        ({}, "an empty dict was found"),
        ({0: torch.ones(2)}, "a dict with the keys 0 was found"),
    ],
)
def test_a_file_without_weights(tmp_path: Path, content: Any, found: str) -> None:
    with pytest.raises(CheckpointError, match=rf"holds no weights: .*{found}.*torch\.save\(model\.state_dict\(\)"):
        read_checkpoint(save(tmp_path / "w.pth", content))


def test_a_path_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="No such file of weights: "):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)


def test_a_file_written_without_torch_is_one_of_torchs(tmp_path: Path) -> None:
    tensors = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.steps": np.array(7)}
    write_checkpoint(tmp_path / "w.pth", tensors)
    expected = torch.load(tmp_path / "w.pth", weights_only=True)["state_dict"]
    assert {key: value.tolist() for key, value in expected.items()} == {k: v.tolist() for k, v in tensors.items()}
    assert same(read_checkpoint(tmp_path / "w.pth").tensors, expected)


def test_a_graph_is_no_checkpoint(tmp_path: Path, untrained: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(WeightsFile(untrained).graph.content)
    with pytest.raises(CheckpointError, match=r"is a graph, not a checkpoint\. Open it with omnireid\.load_embedder"):
        read_checkpoint(path)


TYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_and_view_has_the_values_that_torch_reads(tmp_path: Path, name: str, legacy: bool) -> None:
    numbers = torch.arange(-6, 18).to(getattr(torch, name))
    state = {
        "transposed": numbers.view(4, 6).t(),
        "part": numbers[5:9],
        "expanded": numbers[3:4].expand(7),
        "empty": numbers[:0].view(0, 3),
        "one": numbers[2].clone(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = save(tmp_path / "w.pth", state, legacy=legacy)
    expected = torch.load(path, weights_only=True)
    for key, tensor in read_checkpoint(path).tensors.items():
        assert tensor.shape == tuple(expected[key].shape)
        assert tensor.data_type == str(expected[key].dtype).removeprefix("torch.")
        if tensor.is_float:
            assert np.array_equal(tensor.as_float32(), expected[key].detach().float().numpy())
        elif name != "bfloat16":
            assert np.array_equal(tensor.as_stored(), expected[key].numpy())


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "int64"])
def test_plain_safetensors_are_read_like_a_checkpoint(tmp_path: Path, name: str) -> None:
    state = {f"module.{key}": tensor.to(getattr(torch, name)) for key, tensor in STATE.items()}
    path = tmp_path / "w.pth"  # whatever its name
    save_safetensors(state, path)
    file = read_checkpoint(path)
    assert (file.source_format, file.prefix, file.wrapper) == ("safetensors", "module.", "")
    assert {key: tensor.data_type for key, tensor in file.tensors.items()} == dict.fromkeys(STATE, name)
    for key, tensor in file.tensors.items():
        assert np.array_equal(tensor.as_float32(), STATE[key].numpy())


def test_safetensors_that_are_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(STATE, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"is not a whole safetensors file .*cut short\? Get it again"):
        read_checkpoint(path)


AVERAGE = {f"module.{key}": tensor + 1 for key, tensor in STATE.items()}


@pytest.mark.parametrize(
    ("content", "taken", "other"),
    [
        ({"state_dict": STATE, "ema": AVERAGE}, "state_dict", "ema"),
        ({"state_dict_ema": AVERAGE, "state_dict": STATE}, "state_dict", "state_dict_ema"),
        ({"model": STATE, "model_ema": {"module": AVERAGE, "decay": 0.9}}, "model", "model_ema.module"),
        ({"model": {"state_dict": STATE}, "averaged": AVERAGE}, "model.state_dict", "averaged"),
    ],
)
def test_two_complete_sets_are_told_apart(tmp_path: Path, content: Any, taken: str, other: str) -> None:
    path = save(tmp_path / "w.pth", content)
    file = read_checkpoint(path)
    assert (file.wrapper, file.other_states) == (taken, (other,))
    assert same(file.tensors, STATE)
    for name in (other, other.split(".", maxsplit=1)[0]):
        file = read_checkpoint(path, state=name)
        assert (file.wrapper, file.other_states) == (other, (taken,))
        assert same(file.tensors, {key: tensor + 1 for key, tensor in STATE.items()})


def test_an_optimizer_is_no_second_set(tmp_path: Path) -> None:
    moments = {key: tensor for key, tensor in STATE.items() if key != "fc.bias"}
    file = read_checkpoint(save(tmp_path / "w.pth", {"state_dict": STATE, "optimizer": {"state": moments}}))
    assert file.other_states == ()


def test_a_set_that_is_not_there(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", {"state_dict": STATE, "ema": AVERAGE, "epoch": 3})
    with pytest.raises(CheckpointError, match=r"no weights under 'average'\. .* in it: 'state_dict', 'ema'\."):
        read_checkpoint(path, state="average")


def test_keys_that_would_write_to_the_terminal_are_escaped(tmp_path: Path) -> None:
    file = read_checkpoint(save(tmp_path / "w.pth", {"a\x1b[2J": torch.ones(2), "epoch\r": 3}))
    assert list(file.tensors) == ["a\\x1b[2J"]
    assert file.beside == ("epoch\\r",)
