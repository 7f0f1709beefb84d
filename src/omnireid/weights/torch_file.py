"""Files that ``torch.save`` wrote, read without torch: the zip format, and the row of pickles it wrote before 1.6."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from omnireid.errors import CheckpointError, UnsafeCheckpointError
from omnireid.weights.file_kind import describe_text
from omnireid.weights.pickle_reader import Pickle, PickleFormatError, read_pickle
from omnireid.weights.stored_tensor import Storage
from omnireid.weights.torch_names import KnownType

TorchFormat = Literal["zip", "legacy"]
"""How torch wrote a file: a zip archive (since 1.6), or pickles in a row."""

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT = struct.Struct("<q")
_LOCAL_HEADER = struct.Struct("<4s22xHH")

_DAMAGE = (ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, OSError, EOFError, AttributeError)
_ZIP_DAMAGE = (*_DAMAGE, zipfile.BadZipFile, struct.error)
"""What Python's readers raise on bytes that are not what they should be."""


@dataclass(frozen=True)
class TorchFile:
    """What ``torch.save`` was given, with tensors as `StoredTensor`.

    Attributes:
        content: Dicts, lists, numbers, text and tensors.
        format: How torch wrote it.
    """

    content: object
    format: TorchFormat


def read_torch_file(path: Path) -> TorchFile:
    """Read a file that ``torch.save`` wrote. Nothing in it is ever run.

    Raises:
        UnsafeCheckpointError: Its pickle asks for more than containers and tensors; the message lists what.
        CheckpointError: It is unreadable, truncated or altered, or something else than a file of weights.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    try:
        if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return TorchFile(_read_zip(path, data), "zip")
        return TorchFile(_read_legacy(path, data), "legacy")
    except _ZIP_DAMAGE as error:
        raise _damage(path, data, error) from error


def conversion_snippet(path: Path, target: Path) -> str:
    """Python that saves the bare weights of a trusted file. It runs what is in the file, so it is never run here."""
    return (
        "    import torch\n"
        f"    saved = torch.load({str(path)!r}, map_location='cpu', weights_only=False)\n"
        "    saved = saved.get('state_dict', saved.get('model', saved)) if isinstance(saved, dict) else saved\n"
        "    state = saved.state_dict() if hasattr(saved, 'state_dict') else saved\n"
        f"    torch.save({{k: v for k, v in state.items() if torch.is_tensor(v)}}, {str(target)!r})"
    )


def _read_zip(path: Path, data: bytes) -> object:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if any(name == "constants.pkl" or name.endswith("/constants.pkl") for name in entries):
        raise CheckpointError(
            f"{path} is a TorchScript archive, a program with its weights; only weights are read here. If you trust "
            "it, save them: torch.save(torch.jit.load(path).state_dict(), new_path)."
        )
    if len(roots) != 1:
        raise _other_archive(path, list(entries))
    root = roots[0]
    storages: dict[str, Storage] = {}

    def find_storage(identity: tuple[Any, ...]) -> Storage:
        storage, key = _described_storage(identity)
        if key not in storages:
            storage.content = _find_entry(data, entries[f"{root}data/{key}"])
            storages[key] = storage
        found = storages[key]
        if found.content is None or found.data_type != storage.data_type or len(found.content) != storage.size_bytes:
            raise ValueError(f"storage {key} has another size than its tensors say")
        return found

    order = entries.get(f"{root}byteorder")
    if order is not None and bytes(_find_entry(data, order)) != b"little":
        raise _big_endian(path)
    stream = BytesIO(bytes(_find_entry(data, entries[f"{root}data.pkl"])))
    return _refuse_unknown_names(path, [read_pickle(stream, find_storage)])


def _find_entry(data: bytes, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of an entry, where they lie in the archive, after a check of their sum."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.header_offset < 0:
        raise ValueError(f"{entry.filename} is compressed or encrypted, which torch.save does not do")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(data, entry.header_offset)
    start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    content = memoryview(data)[start : start + entry.file_size]
    if signature != b"PK\x03\x04" or len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise ValueError(
            f"{entry.filename} is not as it was written: its check sum differs, which torch.serialization."
            "set_crc32_options(False) brings about too"
        )
    return content


def _read_legacy(path: Path, data: bytes) -> object:
    stream = BytesIO(data)
    first = read_pickle(stream)
    if first.content != _MAGIC:
        _refuse_unknown_names(path, [first])
        raise _other_pickle(path, data)
    protocol, machine = read_pickle(stream), read_pickle(stream)
    if protocol.content != _PROTOCOL or not isinstance(machine.content, dict):
        raise ValueError("another version of torch's format")
    if machine.content.get("little_endian") is not True:
        raise _big_endian(path)
    storages: dict[str, Storage] = {}

    def find_storage(identity: tuple[Any, ...]) -> Storage:
        storage, key = _described_storage(identity)
        found = storages.setdefault(key, storage)
        if (found.data_type, found.count) != (storage.data_type, storage.count):
            raise ValueError(f"storage {key} has another size than its tensors say")
        return found

    content = read_pickle(stream, find_storage)
    keys = read_pickle(stream)
    found = _refuse_unknown_names(path, [first, protocol, machine, content, keys])
    if not isinstance(keys.content, list) or set(keys.content) != set(storages) or len(keys.content) != len(storages):
        raise ValueError("the list of storages is not that of the tensors")
    position = stream.tell()
    for key in keys.content:
        storage = storages[key]
        (count,) = _COUNT.unpack_from(data, position)
        position += _COUNT.size
        storage.content = memoryview(data)[position : position + storage.size_bytes]
        position += storage.size_bytes
        if count != storage.count or len(storage.content) != storage.size_bytes:
            raise ValueError(f"the values of storage {key} are not all there")
    return found


def _described_storage(identity: tuple[Any, ...]) -> tuple[Storage, str]:
    """The storage, without its content, and the key that a persistent id describes."""
    kind, data_type, key, _device, count, *view = identity
    if kind != "storage" or not isinstance(data_type, KnownType) or not isinstance(key, str) or type(count) is not int:
        raise ValueError("a reference to something that is no storage")
    if count < 0 or (view and view != [None]):
        raise ValueError("a storage that is a view of another, as only torch before 0.4 wrote them")
    return Storage(data_type.data_type, count), key


def _refuse_unknown_names(path: Path, pickles: list[Pickle]) -> object:
    """The content of the pickle that holds the weights, unless any of them asks for more than tensors."""
    names = list(dict.fromkeys(name for pickle in pickles for name in pickle.unknown_names))
    if names:
        target = path.with_name(f"{path.name.split('.')[0]}-weights.pth")
        raise UnsafeCheckpointError(
            f"{path} was not loaded: it is a pickle that asks for {', '.join(names[:5])}"
            f"{', …' if len(names) > 5 else ''}. Bare weights need no such thing, and a pickle that does can run any "
            "code. Nothing in it was run.\nIf you trust whoever made the file, save its bare weights where running it "
            f"does no harm, and load those:\n\n{conversion_snippet(path, target)}"
        )
    return pickles[min(3, len(pickles) - 1)].content


def _big_endian(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} was written on a big-endian machine, and such files are not read here. Save the weights again on an "
        "ordinary machine: torch.save(torch.load(path, weights_only=True), new_path)."
    )


def _other_archive(path: Path, names: list[str]) -> CheckpointError:
    inside = [name for name in names if name.lower().endswith((".pth", ".pt", ".tar", ".safetensors", ".onnx"))]
    if inside:
        return CheckpointError(f"{path} is a zip archive that holds {inside[0]}. Unpack it, and name the file in it.")
    first = f" It holds {', '.join(names[:3])}{', …' if len(names) > 3 else ''}." if names else " It is empty."
    return CheckpointError(f"{path} is a zip archive that torch.save did not write.{first} Give a file of weights.")


def _other_pickle(path: Path, data: bytes) -> CheckpointError:
    """The error for a whole, harmless pickle that is not torch's; Python 2 and pickle.dump write such files."""
    text = describe_text(data[:256])
    if text is not None and data[:1] != b"\x80":
        return CheckpointError(f"{path} is {text}. Get the file again.")
    return CheckpointError(
        f"{path} is a plain pickle, as Python 2 and pickle.dump write them, not a file that torch.save wrote, and it "
        "holds no tensors. If it holds weights as arrays and you trust it, save them as tensors: "
        "torch.save({name: torch.tensor(array) for name, array in pickle.load(open(path, 'rb'), encoding='latin1')"
        ".items()}, new_path)."
    )


def _damage(path: Path, data: bytes, error: Exception) -> CheckpointError:
    """The error for bytes that are no checkpoint, or only a part of one."""
    text = describe_text(data[:256])
    if text is not None:
        return CheckpointError(f"{path} is {text}. Get the file again.")
    beside = path.with_suffix(".xml")
    if path.suffix.lower() == ".bin" and beside.is_file():
        return CheckpointError(f"{path} holds the values of an OpenVINO graph. Name the other file: {beside}.")
    reason = str(error) if isinstance(error, (PickleFormatError, ValueError)) else f"{type(error).__name__}: {error}"
    return CheckpointError(
        f"{path} ({len(data):,} bytes) cannot be read as a checkpoint: it is truncated or altered, or it is "
        f"none. Get it again and compare its SHA-256. The reader stopped at: {reason.strip()[:200]}."
    )
