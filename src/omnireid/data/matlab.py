"""Reading MATLAB files: the split lists of older data sets (scipy) and CUHK03's HDF5 release (h5py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnireid.errors import DataError, require


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is not a readable MATLAB file ({error}). It may be cut short: copy or download it again.")


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """Read the variables `names` from a MATLAB file of version 7 or older, in scipy's form.

    Raises:
        MissingDependencyError: scipy is not installed.
        DataError: the file is no MATLAB file, is cut short, or lacks one of the variables.
    """
    require("scipy", "matlab", f"Reading {path}")
    from scipy.io import loadmat

    try:
        variables: dict[str, Any] = loadmat(path)
    except Exception as error:  # scipy raises another type for each kind of damage
        raise _unreadable(path, error) from error
    missing = [name for name in names if name not in variables]
    if missing:
        there = ", ".join(sorted(name for name in variables if not name.startswith("__")))
        raise DataError(f"{path} has no variable {', '.join(missing)}; it has {there or 'none'}. Is it another file?")
    return {name: variables[name] for name in names}


def list_variables(path: Path) -> list[str]:
    """The names of the variables in a MATLAB file of version 7 or older, sorted.

    Raises:
        MissingDependencyError: scipy is not installed.
        DataError: the file is no MATLAB file, or is cut short.
    """
    require("scipy", "matlab", f"Reading {path}")
    from scipy.io import whosmat

    try:
        return sorted(name for name, _, _ in whosmat(path))
    except Exception as error:  # scipy raises another type for each kind of damage
        raise _unreadable(path, error) from error


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a MATLAB file of version 7.3, which is HDF5, for reading.

    Raises:
        MissingDependencyError: h5py is not installed.
        DataError: the file is no HDF5 file, or is cut short.
    """
    require("h5py", "matlab", f"Reading {path}")
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        yield file
