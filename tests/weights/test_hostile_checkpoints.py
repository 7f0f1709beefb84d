"""Files made to do harm: whatever the bytes are, a typed error or tensors come out, soon and without much memory."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as serialize

from omnireid.errors import CheckpointError, OmnireidError
from omnireid.weights import pickle_reader
from omnireid.weights.checkpoint_file import CheckpointFile, read_checkpoint
from omnireid.weights.pickle_reader import PickleFormatError, read_pickle
from omnireid.weights.source import read_weights

STATE = {"conv1.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.ones(4), "fc.weight": torch.zeros(4, 3)}
CONTENT = {"state_dict": STATE, "epoch": 3, "args": {"lr": 0.1, "steps": [1, 2], "names": ("a", None, True)}}
MOST_MEMORY = 8_000_000


def saved(content: Any, *, legacy: bool, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return stream.getvalue()


def members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def archived(entries: Iterable[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def values(file: CheckpointFile) -> dict[str, tuple[str, bytes]]:
    return {key: (tensor.data_type, tensor.as_stored().tobytes()) for key, tensor in file.tensors.items()}


def outcome(path: Path, content: bytes) -> dict[str, tuple[str, bytes]] | None:
    """The tensors of a file, or None where it is refused; any other error fails the test."""
    path.write_bytes(content)
    try:
        return values(read_checkpoint(path))
    except CheckpointError:
        return None


WHOLE = {
    (legacy, protocol): saved(CONTENT, legacy=legacy, protocol=protocol)
    for legacy in (False, True)
    for protocol in (2, 4)
}
MUTATIONS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "cut", "insert", "repeat"]), st.binary(max_size=6)
    ),
    min_size=1,
    max_size=4,
)


def mutated(content: bytes, mutations: list[tuple[float, str, bytes]]) -> bytes:
    for place, kind, new in mutations:
        position = int(place * len(content))
        kept = content[position + len(new) :] if kind in ("set", "cut") else content[position:]
        added = content[position : position + 20] if kind == "repeat" else b"" if kind == "cut" else new
        content = content[:position] + added + kept
    return content


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(how=st.sampled_from(sorted(WHOLE)), mutations=MUTATIONS)
def test_an_altered_file_is_refused_or_read(tmp_path: Path, how: tuple[bool, int], mutations: list[Any]) -> None:
    found = outcome(tmp_path / "w.pth", mutated(WHOLE[how], mutations))
    if found is not None and not how[0]:  # a zip has check sums; a legacy file may have other values
        expected = outcome(tmp_path / "whole.pth", WHOLE[how])
        assert expected is not None
        assert found == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(protocol=st.sampled_from([2, 4]), mutations=MUTATIONS)
def test_an_altered_pickle_under_a_right_check_sum(tmp_path: Path, protocol: int, mutations: list[Any]) -> None:
    entries = members(WHOLE[False, protocol])
    (name,) = (name for name in entries if name.endswith("data.pkl"))
    entries[name] = mutated(entries[name], mutations)
    content = archived(entries.items())
    found = outcome(tmp_path / "w.pth", content)
    assert outcome(tmp_path / "w.pth", content) == found  # nothing outside the file was read


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300), head=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x08\x07", b"<", b"("])
)
def test_any_bytes_at_all(tmp_path: Path, head: bytes, content: bytes) -> None:
    assert not outcome(tmp_path / "w.pth", head + content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ours=st.booleans(), mutations=MUTATIONS)
def test_an_altered_safetensors_file_is_refused(
    tmp_path: Path, untrained: Path, ours: bool, mutations: list[Any]
) -> None:
    plain = serialize({"a.weight": np.ones((3, 4), dtype=np.float32)}, metadata={"format": "pt"})
    path = tmp_path / "w.safetensors"
    # The header is what is worth altering: only the first 4 KB of the artefact are kept.
    path.write_bytes(mutated(untrained.read_bytes()[:4096] if ours else plain, mutations))
    with pytest.raises(OmnireidError):
        read_weights(path)


BOMBS = {
    "bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40),
    "text that is not there": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40),
    "a frame without end": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "a memo of two billion": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a number of a megabyte": b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\xff" * (1 << 20) + b".",
    "decimal digits": b"L" + b"9" * 100_000 + b"L\n.",
    "tuples in tuples as a key": b"\x80\x02}" + b")" + b"\x85" * 30_000 + b"Ns.",
    "one list in another": b"\x80\x02]" + b"2a" * 3 + b".",
    "a doubling list": b"\x80\x02]q\x00" + b"".join(b"](h%c" % 0 + b"h\x00eq\x00" for _ in range(300)) + b".",
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=list(BOMBS))
def test_a_small_file_takes_little_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY + 20 * len(content)
    finally:
        tracemalloc.stop()


def test_copying_one_list_again_and_again_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_reader, "MOST_OPERATIONS", 20_000)
    pairs = b"](" + b"]NaNa" * 100 + b"eq\x00"
    copies = b"ccollections\nOrderedDict\nh\x00\x85R" * 1000
    with pytest.raises(PickleFormatError, match="more than 20,000 operations; weights need a few thousand"):
        read_pickle(io.BytesIO(b"\x80\x02" + pairs + copies + b"."))


def test_a_long_pickle_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pickle_reader, "MOST_OPERATIONS", 1_000)
    path = tmp_path / "w.pth"
    path.write_bytes(saved({"state_dict": STATE, "losses": list(range(1000))}, legacy=False))
    with pytest.raises(CheckpointError, match="more than 1,000 operations"):
        read_checkpoint(path)


class Pretend:
    """Pickles as a call of torch's, with arguments of our choice."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "reason"),
    [
        (0, (3, 3), (3, 1), "reaches beyond its 6 values"),
        (5, (2,), (1,), "reaches beyond its 6 values"),
        (0, (1 << 40,), (1,), "reaches beyond its 6 values"),
        (0, (1 << 40, 1 << 40), (0, 0), "of 2 axes and 1,208,925,819,614,629,174,706,176 values"),
        (0, (2,), (-1,), "a tensor of shape"),
        (-1, (2,), (1,), "a tensor of shape"),
        (0, (True,), (1,), "a tensor of shape"),
        (0, (2.0,), (1,), "a tensor of shape"),
        (0, (1,) * 40, (1,) * 40, "of 40 axes"),
        (0, (2, 3), (1,), "with strides"),
    ],
)
def test_a_tensor_beyond_its_storage(tmp_path: Path, offset: int, shape: Any, strides: Any, reason: str) -> None:
    storage = torch.arange(6.0).untyped_storage()
    typed = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
        wrap_storage=storage, dtype=torch.float32, _internal=True
    )
    call = Pretend(torch._utils._rebuild_tensor_v2, typed, offset, shape, strides, False, {})
    path = tmp_path / "w.pth"
    path.write_bytes(saved({"a": call}, legacy=False))
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_the_size_of_a_storage_is_that_of_its_bytes(tmp_path: Path) -> None:
    entries = members(WHOLE[False, 2])
    (name,) = (name for name in entries if name.endswith("/data/0"))
    (tmp_path / "w.pth").write_bytes(archived((entries | {name: entries[name] + b"more"}).items()))
    with pytest.raises(CheckpointError, match="storage 0 has another size than its tensors say"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_changed_value_in_a_zip_is_noticed(tmp_path: Path) -> None:
    content = WHOLE[False, 2].replace(struct.pack("<2f", 4.0, 5.0), struct.pack("<2f", 4.0, 6.0))
    assert content != WHOLE[False, 2]
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"data/0 is not as it was written"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(WHOLE[False, 2]).items():
            archive.writestr(name, content + bytes(100))
    with pytest.raises(CheckpointError, match="is compressed or encrypted, which torch.save does not do"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_numbers_of_a_big_endian_machine(tmp_path: Path, legacy: bool) -> None:
    if legacy:
        content = WHOLE[True, 2].replace(
            b"little_endian" + WHOLE[True, 2].split(b"little_endian")[1][:2] + b"\x88", b"X"
        )
        before, after = WHOLE[True, 2].split(b"little_endian", 1)
        content = before + b"little_endian" + after.replace(b"\x88", b"\x89", 1)
    else:
        entries = {
            name: b"big" if name.endswith("byteorder") else content
            for name, content in members(WHOLE[False, 2]).items()
        }
        content = archived(entries.items())
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="was written on a big-endian machine"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_checkpoint_that_python_2_wrote_is_read(tmp_path: Path) -> None:
    """torch for Python 2 wrote text as bytes (SHORT_BINSTRING) and an OrderedDict as a list of pairs."""
    content = saved(STATE, legacy=True)
    for key in STATE:
        name = key.encode()
        content = content.replace(b"X" + struct.pack("<I", len(name)) + name, b"U" + bytes([len(name)]) + name)
    (tmp_path / "w.pth").write_bytes(content)
    assert list(read_checkpoint(tmp_path / "w.pth").tensors) == list(STATE)
    pairs = read_pickle(io.BytesIO(b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01ee\x85R."))
    assert pairs.content == {"a": 1}


def test_what_is_read_is_what_python_would_read() -> None:
    content = {"a": [1, 2.5, -3, 1 << 40, (None, True, False)], "b": {3: "text", (1, "x"): "more"}, "c": ((), [], {})}
    for protocol in range(2, 6):
        assert read_pickle(io.BytesIO(pickle.dumps(content, protocol=protocol))).content == content
