"""The bare weights in a file that others wrote: a file of ``torch.save``, or a plain safetensors file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from omnireid.errors import CheckpointError
from omnireid.weights.file_kind import GRAPH_KINDS, WeightsKind, identify_weights
from omnireid.weights.stored_tensor import Storage, StoredTensor, contiguous_strides
from omnireid.weights.torch_file import read_torch_file

SourceFormat = Literal["zip", "legacy", "safetensors"]
"""How a file was written: by torch as a zip archive (since 1.6) or as pickles in a row, or by safetensors."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "backbone")
_PREFIXES = (
    "module.",
    "model.",
    "backbone.",
    "net.",
    "network.",
    "base.",
    "encoder.",
    "_orig_mod.",
    "student.",
    "reid.",
)
_DEEPEST = 3
_LONGEST_KEY = 500
_SAFETENSORS_TYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "C64": "complex64"},
    **{"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"},
    **{"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu"},
}

_State = Mapping[object, object]


@dataclass(frozen=True)
class CheckpointFile:
    """The bare weights of a file, and how they were wrapped.

    Attributes:
        path: The file.
        source_format: How it was written.
        tensors: Key to tensor, as stored; prefixes are removed.
        wrapper: The entry the weights were under, such as ``state_dict``; empty for a bare state dict.
        prefix: What stood before the keys, such as ``module.``.
        beside: The other entries, such as ``epoch``. They are not used.
        other_states: Entries with another complete set of the same weights, such as a moving average under ``ema``.
    """

    path: Path
    source_format: SourceFormat
    tensors: Mapping[str, StoredTensor]
    wrapper: str
    prefix: str
    beside: tuple[str, ...]
    other_states: tuple[str, ...] = ()


def read_checkpoint(path: Path, state: str | None = None) -> CheckpointFile:
    """Read the weights in a file that others wrote. Nothing in the file is ever run.

    Args:
        path: A file of ``torch.save`` (zip or legacy format), or a safetensors file.
        state: Entry to take the weights from, such as ``ema``. None takes the usual one: ``state_dict``, ``model``
            and their like, or the largest.

    Raises:
        WeightsNotFoundError: No such file.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
        CheckpointError: The file is unreadable or truncated, holds no weights, or has no entry `state`.
    """
    kind = identify_weights(path)
    if kind in GRAPH_KINDS:
        raise CheckpointError(f"{path} is a graph, not a checkpoint. Open it with omnireid.load_embedder.")
    content, source_format = _read_content(path, kind)
    found = _find_state(content) if state is None else _find_named_state(path, content, state)
    if found is None:
        raise CheckpointError(
            f"{path} holds no weights: a dict of named tensors was expected, {_describe(content)} was found. "
            "Save the bare state dict: torch.save(model.state_dict(), path)."
        )
    wrapper, entries = found
    tensors = _tensors_in(entries)
    outer = content if wrapper and isinstance(content, Mapping) else {}
    beside = [_printable(str(key)) for key in outer if key != wrapper.split(".")[0]]
    beside += [_printable(str(key)) for key, value in entries.items() if not _is_tensor(key, value)]
    prefix, stripped = _strip_prefixes(tensors)
    wanted = {key: tensor.shape for key, tensor in stripped.items() if tensor.is_float}
    others = tuple(name for name, other in _list_states(content) if name != wrapper and _holds_all(other, wanted))
    return CheckpointFile(path, source_format, stripped, wrapper, prefix, tuple(beside), others)


def _read_content(path: Path, kind: WeightsKind) -> tuple[object, SourceFormat]:
    if kind == "checkpoint":
        file = read_torch_file(path)
        return file.content, file.format
    from safetensors import SafetensorError, deserialize

    tensors = {}
    try:
        for name, entry in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
            shape, data_type = tuple(entry["shape"]), _SAFETENSORS_TYPES[entry["dtype"]]
            storage = Storage(data_type, len(entry["data"]), memoryview(entry["data"]))
            tensors[name] = StoredTensor(data_type, shape, "dense", storage, 0, contiguous_strides(shape))
    except (SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}). Was the download or copy cut short? Get it again."
        ) from error
    return tensors, "safetensors"


def _find_state(content: object) -> tuple[str, _State] | None:
    """The mapping that holds the weights, and the entries that lead to it."""
    found: dict[tuple[int, int], tuple[str, _State] | None] = {}  # one mapping may be referred to very often

    def find_inside(value: object, depth: int) -> tuple[str, _State] | None:
        if not isinstance(value, Mapping) or depth > _DEEPEST:
            return None
        if (id(value), depth) not in found:
            found[id(value), depth] = None  # for a mapping that holds itself
            inside = {}
            for key, entry in value.items():
                state = find_inside(entry, depth + 1)
                if state is not None and isinstance(key, str):
                    inside[key] = (f"{key}.{state[0]}".rstrip("."), state[1])
            found[id(value), depth] = _choose_state(value, inside)
        return found[id(value), depth]

    return find_inside(content, 0)


def _choose_state(entries: _State, inside: Mapping[str, tuple[str, _State]]) -> tuple[str, _State] | None:
    """The weights among a mapping's own tensors and those in the mappings inside it."""
    direct = _count_tensors(entries)
    for name in _WRAPPERS:
        if name in inside and _count_tensors(inside[name][1]) > direct:
            return inside[name]
    if direct:
        return "", entries
    return max(inside.values(), key=lambda state: _count_tensors(state[1]), default=None)


def _find_named_state(path: Path, content: object, state: str) -> tuple[str, _State]:
    """The entry that `state` names, by its whole path or by its first or last word."""
    states = list(_list_states(content))
    for matches in (lambda name: name == state, lambda name: state in (name.split(".")[0], name.split(".")[-1])):
        for name, entries in states:
            if matches(name):
                return name, entries
    known = ", ".join(repr(name) for name, _ in states if name) or "none but the bare weights"
    raise CheckpointError(f"{path} has no weights under {state!r}. Entries with tensors in it: {known}.")


def _list_states(content: object) -> Iterator[tuple[str, _State]]:
    """Every mapping with tensors in it and the entries that lead to it, outermost first."""
    waiting: list[tuple[str, object, int]] = [("", content, 0)]
    seen: set[int] = set()
    for name, value, depth in waiting:
        if not isinstance(value, Mapping) or id(value) in seen or depth > _DEEPEST:
            continue
        seen.add(id(value))
        if _count_tensors(value):
            yield name, value
        inside = ((key, entry) for key, entry in value.items() if isinstance(key, str))
        waiting += [(f"{name}.{key}".lstrip("."), entry, depth + 1) for key, entry in inside]


def _holds_all(entries: _State, wanted: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a mapping holds a tensor of every wanted name and shape."""
    if not wanted or _count_tensors(entries) < len(wanted):
        return False
    _, found = _strip_prefixes(_tensors_in(entries))
    return all(key in found and found[key].shape == shape for key, shape in wanted.items())


def _tensors_in(entries: _State) -> dict[str, StoredTensor]:
    return {_printable(str(key)): value for key, value in entries.items() if _is_tensor(key, value)}  # type: ignore[misc]


def _count_tensors(entries: _State) -> int:
    return sum(_is_tensor(key, value) for key, value in entries.items())


def _is_tensor(key: object, value: object) -> bool:
    """Whether an entry is a named tensor. Names without end are made by nobody who means well."""
    return isinstance(value, StoredTensor) and isinstance(key, str) and len(key) <= _LONGEST_KEY


def _strip_prefixes(tensors: Mapping[str, StoredTensor]) -> tuple[str, dict[str, StoredTensor]]:
    """Remove, again and again, a known prefix that most keys share; a key that would clash keeps its own."""
    removed = ""
    current = dict(tensors)
    while True:
        prefix = next((p for p in _PREFIXES if 2 * sum(key.startswith(p) for key in current) > len(current)), None)
        if prefix is None:
            return removed, current
        stripped: dict[str, StoredTensor] = {}
        for key, tensor in current.items():
            short = key.removeprefix(prefix)
            stripped[key if short in stripped or (short != key and short in current) else short] = tensor
        if stripped.keys() == current.keys():  # `a`, `model.a`, `model.model.a`: each stands in the other's way
            return removed, current
        removed, current = removed + prefix, stripped


def _printable(text: str) -> str:
    """A name from a file, with control characters escaped: it will be printed on somebody's terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _describe(content: object) -> str:
    if isinstance(content, StoredTensor):
        return "a Tensor"
    if isinstance(content, Mapping):
        keys = ", ".join(repr(key)[:60] for key in list(content)[:5])
        return f"a dict with the keys {keys}" if keys else "an empty dict"
    return f"a {type(content).__name__}"
