"""How a run was made: versions, machine, commit and command line, as plain values for its folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from omnireid.machine import describe

PACKAGE = Path(__file__).resolve().parents[1]
_GIT_TIMEOUT_S = 20.0


def describe_environment() -> dict[str, Any]:
    """Say what a run is made by and on; every value is plain JSON.

    Asking for the names of GPUs makes torch start CUDA in this process.

    Returns:
        Versions of ``omnireid``, ``python`` and the installed libraries of `omnireid.machine.PACKAGES`.
        ``cuda``: The version torch was built for, or None.
        ``platform``: System and release.
        ``cpu``, ``cpu_cores``: Name of the processor, and the number of cores this process may use.
        ``gpus``: Name of each GPU.
        ``git_commit``, ``git_dirty``: Commit of the working tree that holds the package, and whether the package
        differs from it. None where no working tree holds it.
        ``command``: The words of the command line.
    """
    commit, dirty = describe_commit(PACKAGE)
    machine = describe()
    return {
        **machine.versions,
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "cpu": machine.processor,
        "cpu_cores": machine.cores,
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "git_commit": commit,
        "git_dirty": dirty,
        "command": list(sys.argv),
    }


def describe_commit(folder: Path) -> tuple[str | None, bool | None]:
    """The commit that `folder` is at, and whether the folder differs from it, new files that git does not ignore too.

    Both are None without git, and where git does not track the folder's files: a package installed into the virtual
    environment of somebody's project lies in their working tree, but is not part of it.

    Args:
        folder: a folder with an ``__init__.py``.
    """
    if _git(folder, "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return None, None
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".")
    return (None, None) if commit is None or changes is None else (commit, bool(changes))


def _git(folder: Path, *words: str) -> str | None:
    """What git prints, stripped; None where it is not there or refuses."""
    # A hook or an alias of git sets GIT_DIR and its like, which would point it to another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
