"""Reading checkpoints that others wrote, without ever running what is in them."""

from __future__ import annotations

import codecs
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any, Literal

import torch
from torch import Tensor

from omnireid.errors import CheckpointError, UnsafeCheckpointError, WeightsNotFoundError

SourceFormat = Literal["zip", "legacy"]
"""How torch wrote the file: a zip archive (since 1.6), or pickles in a row."""

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

_BENIGN = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
    r"|torch\.(\w*Storage|Size|Tensor|device|storage\.(Untyped|Typed)Storage|\w*int\d+|b?float\d+|bool)"
    r"|torch\._utils\._rebuild_\w+|torch\.serialization\._get_layout|torch\.nn\.parameter\.Parameter"
    r"|torch\._tensor\._rebuild_from_type_v2"
)

_DAMAGE = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    MemoryError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
    OSError,
)
"""What torch's reader raises on bytes that are not a checkpoint, or only the start of one."""


class _Ignored:
    """Stands for numpy values beside the weights (an epoch's score, say).

    torch refuses numpy's own types, and letting it build real ones from a stranger's bytes would be unsafe:
    a crafted dtype makes numpy follow pointers out of the file. So nothing of them is kept.
    """

    def __init__(self, *_arguments: object) -> None:
        """Take what the pickle gives and keep nothing."""

    def __setstate__(self, _state: object) -> None:
        """Take what the pickle gives and keep nothing."""


_NUMPY_NAMES = (
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
)
_ALLOWANCE = Lock()  # torch keeps its list of allowed names in one global: two threads would undo each other's


@dataclass(frozen=True)
class CheckpointFile:
    """The bare weights of a file, and how they were wrapped.

    Attributes:
        path: the file.
        source_format: how torch wrote it.
        tensors: key to tensor on the CPU, as stored; prefixes removed.
        wrapper: the entry the weights were under, such as ``state_dict``; empty for a bare state dict.
        prefix: what stood before the keys, such as ``module.``.
        beside: the other entries, such as ``epoch``; they were not used.
    """

    path: Path
    source_format: SourceFormat
    tensors: Mapping[str, Tensor]
    wrapper: str
    prefix: str
    beside: tuple[str, ...]


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read the weights of a file written by ``torch.save``.

    Raises:
        WeightsNotFoundError: no such file.
        UnsafeCheckpointError: a pickle that asks for more than tensors. It was not run.
        CheckpointError: unreadable, truncated, or without any weights.
    """
    content, source_format = _load(path)
    found = _find_state(content)
    if found is None:
        raise CheckpointError(
            f"{path} holds no weights: a dict of named tensors was expected, {_describe(content)} was found. "
            "Save the bare state dict: torch.save(model.state_dict(), path)."
        )
    wrapper, state = found
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    outer = content if wrapper and isinstance(content, Mapping) else {}
    beside = [str(key) for key in outer if key != wrapper.split(".")[0]]
    beside += [str(key) for key in state if key not in tensors]
    prefix, stripped = _strip_prefixes(tensors)
    return CheckpointFile(path, source_format, stripped, wrapper, prefix, tuple(beside))


def _load(path: Path) -> tuple[object, SourceFormat]:
    """The content as torch's restricted reader gives it."""
    head = _head(path)
    source_format: SourceFormat = "zip" if head.startswith(b"PK\x03\x04") else "legacy"
    if source_format == "zip" and _is_torchscript(path):
        # torch would warn, and then speak of weights_only, which is no help here.
        raise CheckpointError(
            f"{path} is a TorchScript archive, a program with its weights; only weights are read here. If you trust "
            "it, save them: torch.save(torch.jit.load(path).state_dict(), new_path)."
        )
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [(_Ignored, name) for name in _NUMPY_NAMES]
    try:
        with _ALLOWANCE, torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            # A newer pickle protocol: either torch reads it, or it is refused below.
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, head, error) from None
    except _DAMAGE as error:
        raise _damage(path, head, error) from None
    return content, source_format


def _head(path: Path) -> bytes:
    """The first bytes of the file, after a look at whether there is one."""
    if not path.exists():
        raise WeightsNotFoundError(f"No file of weights at {path}. Check the path.")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; a file of weights was expected. Name the file in it.")
    if path.suffix in {".safetensors", ".onnx"}:
        raise CheckpointError(f"{path} is not a torch checkpoint. Open it with omnireid.load_embedder.")
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes): a download or a copy failed. Get the file again.")
    return head


def _refusal(path: Path, head: bytes, error: pickle.UnpicklingError) -> CheckpointError:
    """The typed error for a pickle that torch would not read."""
    # Only names from whole pickles count: torch also reports the stump of a name at which a file was cut off, and
    # plain text whose first letters happen to be pickle opcodes.
    wanted = (name for name in _pickled_names(path) if not _BENIGN.fullmatch(name) and name not in _NUMPY_NAMES)
    names = list(dict.fromkeys(wanted))
    if not names:
        return _damage(path, head, error)
    target = path.with_name(f"{path.name.split('.')[0]}-weights.pth")
    return UnsafeCheckpointError(
        f"{path} was not loaded: it is a pickle that asks for {', '.join(names[:5])}"
        f"{', …' if len(names) > 5 else ''}. Bare weights need no such thing, and a pickle that does can run any code. "
        "Nothing in it was run.\nIf you trust whoever made the file, save its bare weights where running it does no "
        f"harm, and load those:\n\n{conversion_snippet(path, target)}"
    )


def conversion_snippet(path: Path, target: Path) -> str:
    """Python that saves the bare weights of a trusted file. It runs what is in the file, so it is never run here."""
    return (
        "    import torch\n"
        f"    saved = torch.load({str(path)!r}, map_location='cpu', weights_only=False)\n"
        "    saved = saved.get('state_dict', saved.get('model', saved)) if isinstance(saved, dict) else saved\n"
        "    state = saved.state_dict() if hasattr(saved, 'state_dict') else saved\n"
        f"    torch.save({{k: v for k, v in state.items() if torch.is_tensor(v)}}, {str(target)!r})"
    )


def _damage(path: Path, head: bytes, error: Exception) -> CheckpointError:
    """The typed error for bytes that are no checkpoint, or a part of one."""
    text = _as_text(head)
    if text is not None:
        kind = "a web page: the download failed" if text.lstrip().startswith("<") else "text, not weights"
        return CheckpointError(f"{path} is {kind}. It starts with {text[:40]!r}. Get the file again.")
    reason = str(error).rsplit("WeightsUnpickler error:", maxsplit=1)[-1].strip()
    first_line = reason.splitlines()[0] if reason else type(error).__name__
    return CheckpointError(
        f"{path} ({path.stat().st_size:,} bytes) cannot be read as a checkpoint: it is truncated or altered, or it is "
        f"none. Get it again and compare its SHA-256. torch says: {first_line}"
    )


def _as_text(head: bytes) -> str | None:
    """The first bytes as text; None where they are binary."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # bears a letter cut in two at the end
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter.isspace() for letter in text) else None


def _is_torchscript(path: Path) -> bool:
    with suppress(*_DAMAGE), zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())
    return False


def _pickled_names(path: Path) -> list[str]:
    """Every class and function that the pickles in the file name, read without unpickling; none of broken ones."""
    names: list[str] = []
    with suppress(*_DAMAGE):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    if entry.endswith(".pkl"):
                        with archive.open(entry) as stream:
                            names += _names_of_one(stream)
        else:
            with path.open("rb") as stream:
                for _pickle in range(5):  # magic number, version, machine, content, storage keys; then raw values
                    names += _names_of_one(stream)
    return names


def _names_of_one(stream: IO[bytes]) -> list[str]:
    """The names in one pickle, up to its end; ValueError where it has none."""
    names: list[str] = []
    strings: list[str] = []
    memo: dict[Any, str] = {}
    for opcode, argument, _position in pickletools.genops(stream):
        if opcode.name in {"GLOBAL", "INST"}:
            names.append(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.append(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif opcode.name in {"BINPUT", "LONG_BINPUT", "PUT"}:
            memo[argument] = strings[-1] if strings else ""
        elif opcode.name in {"BINGET", "LONG_BINGET", "GET"}:
            strings.append(memo.get(argument, "?"))
    return names


def _find_state(content: object, depth: int = 0) -> tuple[str, Mapping[object, object]] | None:
    """The mapping that holds the weights, and the entries that lead to it."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return None
    direct = _count_tensors(content)
    inside = {}
    for key, value in content.items():
        found = _find_state(value, depth + 1)
        if found is not None and isinstance(key, str):
            inside[key] = (f"{key}.{found[0]}".rstrip("."), found[1])
    for name in _WRAPPERS:
        if name in inside and _count_tensors(inside[name][1]) > direct:
            return inside[name]
    if direct:
        return "", content
    return max(inside.values(), key=lambda found: _count_tensors(found[1]), default=None)


def _count_tensors(mapping: Mapping[object, object]) -> int:
    return sum(isinstance(key, str) and isinstance(value, Tensor) for key, value in mapping.items())


def _strip_prefixes(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Remove, again and again, a known prefix that most keys share; a key that would clash keeps its own."""
    removed = ""
    current = dict(tensors)
    while True:
        prefix = next((p for p in _PREFIXES if 2 * sum(key.startswith(p) for key in current) > len(current)), None)
        if prefix is None:
            return removed, current
        stripped: dict[str, Tensor] = {}
        for key, tensor in current.items():
            short = key.removeprefix(prefix)
            stripped[key if short in stripped or (short != key and short in current) else short] = tensor
        if stripped.keys() == current.keys():  # `a`, `model.a`, `model.model.a`: each stands in the other's way
            return removed, current
        removed, current = removed + prefix, stripped


def _describe(content: object) -> str:
    if isinstance(content, Mapping):
        keys = ", ".join(repr(key) for key in list(content)[:5])
        return f"a dict with the keys {keys}" if keys else "an empty dict"
    return f"a {type(content).__name__}"
