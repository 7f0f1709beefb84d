"""Starting the libraries that run graphs, which they do not make safe themselves."""

from __future__ import annotations

import os
from functools import cache
from threading import Lock
from typing import Any

from omnireid.errors import MissingDependencyError, ModelError, last_line, require

FIRST_USE = Lock()
"""Held while a runtime compiles a network and runs it for the first time, which no two threads may do at once.

Libraries initialise parts of themselves at their first use. In OpenVINO's Python binding (2026.4.1), a thread that
holds the GIL can then wait for an initialisation whose thread waits for the GIL, and both wait for ever.
"""


_STARTED_IN: set[int] = set()
"""The processes in which OpenVINO was started: this one, or those it was forked from."""


def shared_core() -> Any:
    """The one OpenVINO core of this process, which is never deleted.

    Each Core gives the thread a signal stack of its own, and restores the former one when it is deleted. Two cores
    that are not deleted in reverse order leave the thread with freed memory, and the next signal ends the process
    (2026.4.1).

    Raises:
        MissingDependencyError: OpenVINO is not installed or cannot be started.
        ModelError: OpenVINO was started before this process was forked. Its threads are gone then, and starting it
            again sometimes waits for them for ever.
    """
    require("openvino", "openvino", "Running or making OpenVINO's graphs")
    process = os.getpid()
    if _STARTED_IN and process not in _STARTED_IN:
        raise ModelError(
            "OpenVINO was started before this process was forked, and does not survive a fork: it could hang. Load the "
            "network only after the fork (with gunicorn, leave out --preload); or start the processes by spawn "
            "(multiprocessing.get_context('spawn')); or choose runtime='onnxruntime', which can be forked."
        )
    _STARTED_IN.add(process)
    return _core(process)


@cache
def _core(_process: int) -> Any:
    import openvino

    try:
        return openvino.Core()
    except Exception as error:
        raise MissingDependencyError(
            f"OpenVINO {openvino.__version__} is installed but cannot be started: {last_line(error)} Install it again "
            "with: pip install --force-reinstall 'omnireid[openvino]'; or use --runtime onnxruntime."
        ) from error
