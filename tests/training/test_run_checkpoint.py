from __future__ import annotations

import errno
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnireid.errors import CheckpointError, DiskFullError, ResumeError
from omnireid.training.recipes import Recipe
from omnireid.training.run_checkpoint import (
    Progress,
    RunIdentity,
    _record_digest,
    check_identity,
    read_checkpoint,
    write_checkpoint,
)

IDENTITY = RunIdentity(
    Recipe(milestones=(3, 5)).json(), {"names": ["market1501"], "fingerprint": "ab12", "identities": 751}, None, 2
)
PROGRESS = Progress(step=7, seconds=1.25, best=0.1 + 0.2, best_epoch=1.5)
STATE: dict[str, Any] = {
    "network": {"conv.weight": torch.arange(6.0).reshape(2, 3), "norm.num_batches_tracked": torch.tensor(4)},
    "optimiser": {"0": {"step": torch.tensor(3.0), "momentum_buffer": None}},
    "average": {"updates": 9, "values": {"conv.weight": torch.ones(2, 3, dtype=torch.bfloat16)}},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, STATE, PROGRESS, IDENTITY)
    return path


def same(left: Any, right: Any) -> bool:
    """Whether two trees are equal: tensors by type, shape and bytes, so that NaN is NaN and -0 is not 0."""
    if isinstance(left, Tensor):
        return (
            isinstance(right, Tensor)
            and (left.dtype, left.shape) == (right.dtype, right.shape)
            and raw_bytes(left) == raw_bytes(right)
        )
    if isinstance(left, Mapping):
        return (
            isinstance(right, Mapping) and set(left) == set(right) and all(same(left[key], right[key]) for key in left)
        )
    return type(left) is type(right) and bool(left == right)


def raw_bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Of any type and up to three axes, with any bits in them, contiguous or not."""
    kind = draw(
        st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8])
    )
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = int(np.prod(shape, dtype=int)) * kind.itemsize
    bits = torch.tensor(list(draw(st.binary(min_size=size, max_size=size))), dtype=torch.uint8)
    tensor = bits.view(kind).reshape(shape)
    turned: bool = draw(st.booleans())
    return tensor.transpose(0, -1) if shape and turned else tensor


NAMES = st.text("abc.0_", min_size=1, max_size=3)
PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=3)
TREES = st.recursive(
    tensors() | PLAIN, lambda children: st.dictionaries(NAMES, children, min_size=1, max_size=3), max_leaves=6
)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=3))
def test_state_of_any_depth_comes_back_to_the_bit(state: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        write_checkpoint(path, state, PROGRESS, IDENTITY)
        found, progress, identity = read_checkpoint(path)
    assert same(found, state)
    assert (progress, identity) == (PROGRESS, IDENTITY)


@pytest.mark.parametrize("progress", [Progress(), PROGRESS])
def test_progress_and_identity_come_back(tmp_path: Path, progress: Progress) -> None:
    identity = replace(IDENTITY, start="cd34", world_size=1)
    write_checkpoint(tmp_path / "a.safetensors", STATE, progress, identity)
    state, *rest = read_checkpoint(tmp_path / "a.safetensors")
    assert same(state, STATE)
    assert rest == [progress, identity]
    assert IDENTITY.differences(IDENTITY) == []


def test_keys_that_are_numbers_become_text(tmp_path: Path) -> None:
    identity = replace(IDENTITY, data={2: "b", 10: "a"})  # type: ignore[dict-item]
    write_checkpoint(tmp_path / "a.safetensors", {"optimiser": {2: {"step": 1}, 10: {}}}, PROGRESS, identity)
    state, _, found = read_checkpoint(tmp_path / "a.safetensors")
    assert same(state, {"optimiser": {"2": {"step": 1}}})  # what is empty is left out
    assert found.data == {"2": "b", "10": "a"}


def test_a_new_checkpoint_takes_the_place_of_the_old(checkpoint: Path) -> None:
    write_checkpoint(checkpoint, {"network": {"weight": torch.zeros(1)}}, replace(PROGRESS, step=8), IDENTITY)
    state, progress, _ = read_checkpoint(checkpoint)
    assert same(state, {"network": {"weight": torch.zeros(1)}})
    assert progress.step == 8
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ResumeError, match=rf"^No checkpoint {re.escape(str(path))}: .*without --resume\.$"):
            read_checkpoint(path)


def test_a_checkpoint_cut_short(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        checkpoint.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="is no complete checkpoint of a run .*another folder"):
            read_checkpoint(checkpoint)


def test_a_bit_that_changed_in_any_tensor(checkpoint: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    assert start < len(content)
    for place in range(start, len(content)):
        changed = content.copy()
        changed[place] ^= 16
        checkpoint.write_bytes(changed)
        with pytest.raises(CheckpointError, match="do not match their checksum: the file is damaged"):
            read_checkpoint(checkpoint)


def test_a_character_that_changed_in_the_record(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    for before, after in ((b'step\\": 7', b'step\\": 8'), (b"ab12", b"ab13"), (b'updates\\": 9', b'updates\\": 4')):
        assert content.count(before) == 1
        checkpoint.write_bytes(content.replace(before, after))
        with pytest.raises(CheckpointError, match="The metadata of .* does not match its checksum: the file is da"):
            read_checkpoint(checkpoint)


def test_a_tensor_under_another_name(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    assert content.count(b"network/conv.weight") == 1
    checkpoint.write_bytes(content.replace(b"network/conv.weight", b"network/conv.height"))
    with pytest.raises(CheckpointError, match="the file is damaged"):
        read_checkpoint(checkpoint)


def rewritten(path: Path, **changes: Any) -> None:
    """Write a checkpoint again with other entries in its record; None takes one out."""
    with safe_open(path, framework="pt") as opened:
        record = json.loads(opened.metadata()["omnireid-run"])
        found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    record = {name: value for name, value in (record | changes).items() if value is not None}
    del record["record_digest"]
    record["record_digest"] = _record_digest(record)
    save_file(found, path, {"omnireid-run": json.dumps(record)})


def test_a_checkpoint_of_a_newer_version(checkpoint: Path) -> None:
    rewritten(checkpoint, format_version=1)
    assert same(read_checkpoint(checkpoint)[0], STATE)
    rewritten(checkpoint, format_version=2)
    with pytest.raises(CheckpointError, match=r"written by a newer omnireid \(format 2, .* up to 1\).*pip install"):
        read_checkpoint(checkpoint)


def test_a_checkpoint_from_before_it_was_noted_what_a_run_is_scored_on(checkpoint: Path) -> None:
    before = {name: value for name, value in vars(IDENTITY).items() if name != "scored_on"}
    rewritten(checkpoint, identity=before)
    found = read_checkpoint(checkpoint)[2]
    assert found.differences(replace(IDENTITY, scored_on={"viper": "ab" * 32})) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": None},
        {"progress": None},
        {"progress": {"step": 3, "unknown": 1}},
        {"identity": {"recipe": {}}},
        {"format_version": "two"},
        {"plain": {"average/updates": 9, "average/updates/below": 1}},
    ],
)
def test_a_record_that_is_not_whole(checkpoint: Path, changes: dict[str, Any]) -> None:
    rewritten(checkpoint, **changes)
    with pytest.raises(CheckpointError, match="is no complete checkpoint of a run"):
        read_checkpoint(checkpoint)


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}, {"omnireid-run": "[]"}, {"omnireid-run": "{"}):
        save_file({"weight": torch.zeros(2)}, path, metadata)
        with pytest.raises(CheckpointError, match="is no complete checkpoint of a run"):
            read_checkpoint(path)
    for content in (b"not weights at all, but long enough to have a header", bytes(64), b"\x80\x02}q\x00."):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is no complete checkpoint of a run"):
            read_checkpoint(path)


def test_a_full_disk_leaves_the_old_checkpoint_whole(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checkpoint.read_bytes()
    write = Path.write_bytes

    def write_half(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(DiskFullError, match=f"No space left on the disk while writing {re.escape(str(checkpoint))}"):
        write_checkpoint(checkpoint, STATE, replace(PROGRESS, step=8), IDENTITY)
    monkeypatch.undo()
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_writing_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    state = {"network": {"weight": weight}}
    write_checkpoint(tmp_path / "a.safetensors", state, PROGRESS, IDENTITY)
    assert state["network"]["weight"] is weight
    assert (weight.stride(), weight.requires_grad) == ((1, 3), True)


def test_the_same_run_may_go_on() -> None:
    check_identity(IDENTITY, replace(IDENTITY), Path("runs/a"))


def test_every_difference_is_listed() -> None:
    asked = RunIdentity(
        Recipe(milestones=(3, 6), learning_rate=0.1, balance_cameras=True).json(),
        {"names": ["market1501"], "fingerprint": "ff00", "identities": 751},
        "cd34",
        3,
    )
    with pytest.raises(ResumeError) as caught:
        check_identity(IDENTITY, asked, Path("runs/a"))
    first, *lines, last = str(caught.value).splitlines()
    assert first == f"The run in {Path('runs/a')} cannot be resumed with these settings:"
    assert lines == [
        "  --balance-cameras: it has False, asked for is True",
        "  --learning-rate: it has 0.065, asked for is 0.1",
        "  --milestones: it has [3, 5], asked for is [3, 6]",
        "  data set (fingerprint): it has ab12, asked for is ff00",
        "  --weights: it began from random weights, asked for is cd34",
        "  ranks: it has 2, started are 3; batch norms see a rank's share of a batch, so start it again with torchrun "
        "--nproc-per-node 2",
    ]
    assert last == "Give it the same flags, or start a new run in another --output."


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, PLAIN, max_size=4), st.dictionaries(NAMES, PLAIN, max_size=4))
def test_one_line_for_each_value_that_differs(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    keys = {*mine, *theirs}
    count = sum(mine.get(key) != theirs.get(key) for key in keys)
    assert len(replace(IDENTITY, recipe=mine).differences(replace(IDENTITY, recipe=theirs))) == count
    assert len(replace(IDENTITY, data=mine).differences(replace(IDENTITY, data=theirs))) == count
