"""A tensor as a file stores it: its type, its shape and where its values are. Nothing is copied before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from omnireid.types import FloatArray

Form = Literal["dense", "sparse", "quantised", "empty"]
"""How a tensor holds its values. Only dense tensors can be weights; ``empty`` has a shape and no values at all."""

NUMPY_TYPES: Mapping[str, np.dtype[np.generic]] = MappingProxyType(
    {
        "float64": np.dtype("<f8"),
        "float32": np.dtype("<f4"),
        "float16": np.dtype("<f2"),
        "bfloat16": np.dtype("<u2"),  # NumPy has no bfloat16: these are its bits
        "complex64": np.dtype("<c8"),
        "complex128": np.dtype("<c16"),
        "int64": np.dtype("<i8"),
        "int32": np.dtype("<i4"),
        "int16": np.dtype("<i2"),
        "int8": np.dtype("i1"),
        "uint64": np.dtype("<u8"),
        "uint32": np.dtype("<u4"),
        "uint16": np.dtype("<u2"),
        "uint8": np.dtype("u1"),
        "bool": np.dtype("u1"),
        "float8_e4m3fn": np.dtype("u1"),
        "float8_e4m3fnuz": np.dtype("u1"),
        "float8_e5m2": np.dtype("u1"),
        "float8_e5m2fnuz": np.dtype("u1"),
        "float8_e8m0fnu": np.dtype("u1"),
    }
)
"""Name of a data type to how its values lie in the file. Files are little-endian; big-endian ones are refused."""

FLOAT_TYPES = frozenset({"float64", "float32", "float16", "bfloat16"})
"""The data types that can be weights."""

MOST_AXES = 32
_MOST_VALUES = 1 << 48


@dataclass(eq=False, slots=True)
class Storage:
    """A run of numbers in a file, which tensors are views of.

    Attributes:
        data_type: Name of the numbers' type.
        count: Number of them.
        content: Their bytes. A legacy checkpoint has them after everything else, so they are filled in last.
    """

    data_type: str
    count: int
    content: memoryview | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the whole run."""
        return self.count * NUMPY_TYPES[self.data_type].itemsize


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor in a file: a strided view of a storage.

    Attributes:
        data_type: Name of its type, such as ``float32``.
        shape: Its shape.
        form: How it holds its values.
        storage: The numbers it is a view of; None where it is not dense.
        offset: Index of its first value in the storage, in values of `data_type`.
        strides: Step along each axis, in values; not in bytes, as NumPy has it.
    """

    data_type: str
    shape: tuple[int, ...]
    form: Form = "dense"
    storage: Storage | None = None
    offset: int = 0
    strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that the view stays inside its storage."""
        numbers = (*self.shape, *self.strides, self.offset)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"a tensor of shape {self.shape!r}, strides {self.strides!r}, offset {self.offset!r}")
        if len(self.shape) > MOST_AXES or math.prod(self.shape) > _MOST_VALUES:
            raise ValueError(f"a tensor of {len(self.shape)} axes and {math.prod(self.shape):,} values")
        if self.storage is None:
            return
        if len(self.strides) != len(self.shape):
            raise ValueError(f"a tensor of shape {self.shape} with strides {self.strides}")
        if not math.prod(self.shape):
            return
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if (last + 1) * NUMPY_TYPES[self.data_type].itemsize > self.storage.size_bytes:
            raise ValueError(f"a tensor of shape {self.shape} that reaches beyond its {self.storage.count:,} values")

    @property
    def is_float(self) -> bool:
        """Whether it is dense and of a floating-point type that can be weights."""
        return self.form == "dense" and self.data_type in FLOAT_TYPES

    def as_stored(self) -> npt.NDArray[np.generic]:
        """The values, read-only, without a copy: (…) of `shape`. bfloat16 comes as its bits, bool as bytes."""
        if self.storage is None or self.storage.content is None:
            raise ValueError(f"a {self.form} tensor has no values to read")
        kind = NUMPY_TYPES[self.data_type]
        if not math.prod(self.shape):
            return np.empty(self.shape, dtype=kind)
        numbers = np.frombuffer(self.storage.content, dtype=kind)[self.offset :]
        steps = [step * kind.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(numbers, self.shape, steps, writeable=False)

    def as_float32(self) -> FloatArray:
        """The values as a new float32 array. float64 is rounded; what float32 cannot hold becomes infinite."""
        values = self.as_stored()
        if self.data_type == "bfloat16":
            return np.asarray(values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore", under="ignore"):
            return values.astype(np.float32)


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of values that lie in row order, in values.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
