"""The names that occur in torch's checkpoints, and what is made of each without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from omnireid.weights.stored_tensor import MOST_AXES, NUMPY_TYPES, Storage, StoredTensor


class _LeftOut:
    """Stands in the place of a value that weights do not need."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(left out)"


LEFT_OUT: Final = _LeftOut()
"""In the place of values beside the weights that are known to be harmless and are not kept, such as an epoch's score.

NumPy's own types are among them. Building a real one from a stranger's bytes would be unsafe: a crafted dtype makes
NumPy follow pointers out of the file.
"""


@dataclass(frozen=True)
class KnownType:
    """The name of one of torch's types, as a value on the stack."""

    data_type: str


@dataclass(frozen=True)
class KnownFunction:
    """A function of torch's that is known here: how to make its result from its arguments."""

    build: Callable[..., object]


_IGNORED_NAMES = re.compile(
    r"collections\.Counter|_codecs\.encode|(builtins|__builtin__)\.(set|frozenset|bytearray|complex|slice)"
    r"|torch\.(device|layout|memory_format|Tensor|per_\w+_affine\w*|strided|sparse_\w+|contiguous_format)"
    r"|torch\.serialization\._get_layout|torch\._utils\._rebuild_\w+|torch\._tensor\.Tensor"
    r"|numpy\.(dtype|ndarray)|numpy\._?core\.multiarray\.(scalar|_reconstruct)"
)
"""Names that do no harm and whose values are not needed."""

_STORAGE_NAME = re.compile(r"torch(?:\.cuda)?\.(\w+)Storage|torch\.storage\.(Untyped|Typed)Storage")
_STORAGE_TYPES = MappingProxyType(
    {
        **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16"},
        **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"},
        **{"ComplexFloat": "complex64", "ComplexDouble": "complex128", "Untyped": "uint8"},
        **{"QUInt8": "uint8", "QInt8": "int8", "QInt32": "int32", "QUInt4x2": "uint8", "QUInt2x4": "uint8"},
    }
)
_SHORT_TYPE_NAMES = MappingProxyType({"float": "float32", "double": "float64", "half": "float16", "long": "int64"})


def find_name(full: str) -> object | None:
    """What stands for a name in a pickle: a `KnownType`, a `KnownFunction`, or `LEFT_OUT`; None for an unknown name."""
    if full in _FUNCTIONS:
        return _FUNCTIONS[full]
    storage = _STORAGE_NAME.fullmatch(full)
    if storage and (kind := _STORAGE_TYPES.get(storage[1] or storage[2])) is not None:
        return KnownType(kind)
    module, _, name = full.rpartition(".")
    data_type = _SHORT_TYPE_NAMES.get(name, name)
    if module == "torch" and data_type in NUMPY_TYPES:
        return KnownType(data_type)
    return LEFT_OUT if _IGNORED_NAMES.fullmatch(full) else None


def _can_be_key(value: object) -> bool:
    """Whether a value may be a key: text and numbers, and flat tuples of them.

    Python hashes nested tuples by recursion, without end, and huge integers can be made to collide.
    """
    if type(value) is tuple:
        return len(value) <= 8 and all(type(part) is not tuple and _can_be_key(part) for part in value)
    if type(value) is int:
        return value.bit_length() <= 64
    return value is None or type(value) in (str, bytes, float, bool)


def set_item(found: dict[object, object], key: object, value: object) -> None:
    """Store an entry. Entries under other keys than text and numbers are left out: no weights have them."""
    if _can_be_key(key):
        found[key] = value


def _build_dict(pairs: Iterable[Sequence[object]] = ()) -> dict[object, object]:
    found: dict[object, object] = {}
    for key, value in pairs:
        set_item(found, key, value)
    return found


def _build_size(numbers: Sequence[int] = ()) -> tuple[int, ...]:
    if len(numbers) > MOST_AXES:
        raise ValueError(f"a shape of {len(numbers):,} axes")
    return tuple(numbers)


def _build_tensor(storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int], *_: object) -> object:
    return StoredTensor(storage.data_type, tuple(shape), "dense", storage, offset, tuple(strides))


def _build_typed_tensor(
    storage: Storage,
    offset: int,
    shape: Sequence[int],
    strides: Sequence[int],
    _requires_grad: object,
    _hooks: object,
    data_type: KnownType,
    *_: object,
) -> object:
    return StoredTensor(data_type.data_type, tuple(shape), "dense", storage, offset, tuple(strides))


def _build_parameter(tensor: object, *_: object) -> object:
    return tensor


def _build_of_type(function: object, _type: object, arguments: tuple[object, ...], *_: object) -> object:
    return function.build(*arguments) if isinstance(function, KnownFunction) else LEFT_OUT


def _build_sparse_tensor(_layout: object, parts: Sequence[Any]) -> object:
    _indices, values, shape = parts[:3]
    return StoredTensor(values.data_type, tuple(shape), "sparse")


def _build_quantised_tensor(storage: Storage, _offset: object, shape: Sequence[int], *_: object) -> object:
    return StoredTensor(storage.data_type, tuple(shape), "quantised")


def _build_empty_tensor(data_type: KnownType, shape: Sequence[int], *_: object) -> object:
    return StoredTensor(data_type.data_type, tuple(shape), "empty")


_FUNCTIONS: Mapping[str, KnownFunction] = MappingProxyType(
    {
        "collections.OrderedDict": KnownFunction(_build_dict),
        "torch.Size": KnownFunction(_build_size),
        "torch._utils._rebuild_tensor": KnownFunction(_build_tensor),
        "torch._utils._rebuild_tensor_v2": KnownFunction(_build_tensor),
        "torch._utils._rebuild_tensor_v3": KnownFunction(_build_typed_tensor),
        "torch._utils._rebuild_parameter": KnownFunction(_build_parameter),
        "torch._utils._rebuild_parameter_with_state": KnownFunction(_build_parameter),
        "torch.nn.parameter.Parameter": KnownFunction(_build_parameter),
        "torch._tensor._rebuild_from_type_v2": KnownFunction(_build_of_type),
        "torch._utils._rebuild_sparse_tensor": KnownFunction(_build_sparse_tensor),
        "torch._utils._rebuild_qtensor": KnownFunction(_build_quantised_tensor),
        "torch._utils._rebuild_meta_tensor_no_storage": KnownFunction(_build_empty_tensor),
    }
)
