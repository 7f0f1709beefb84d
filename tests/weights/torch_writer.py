"""Write a file like those of ``torch.save`` without torch, so that the core install can be checked with one.

Run: python tests/weights/torch_writer.py OUTPUT.pth    (the weights that ship with omnireid, under "state_dict")
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def write_checkpoint(path: Path, tensors: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write ``{"state_dict": tensors}`` in torch's zip format."""
    pickle = b"\x80\x02}" + _text("state_dict") + b"}"
    with zipfile.ZipFile(path, "w") as archive:
        for index, (key, values) in enumerate(tensors.items()):
            reference = _text("storage") + f"ctorch\n{_STORAGES[values.dtype.name]}\n".encode() + _text(str(index))
            reference = b"(" + reference + _text("cpu") + _number(values.size) + b"tQ"
            strides = [stride // values.itemsize for stride in np.ascontiguousarray(values).strides]
            shapes = _tuple(values.shape) + _tuple(strides if values.ndim else ())
            call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + _number(0) + shapes + b"\x89ccollections\n"
            pickle += _text(key) + call + b"OrderedDict\n)RtRs"
            archive.writestr(f"archive/data/{index}", np.ascontiguousarray(values).tobytes())
        archive.writestr("archive/data.pkl", pickle + b"s.")
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _tuple(numbers: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"


if __name__ == "__main__":
    from omnireid.weights.shipped import DEFAULT_WEIGHTS, shipped_weights
    from omnireid.weights.source import read_weights

    write_checkpoint(Path(sys.argv[1]), read_weights(shipped_weights()[DEFAULT_WEIGHTS])[0])
