"""The state of a network: tensors under our own keys, checked before anything runs with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from omnireid.errors import CheckpointError, CoverageError
from omnireid.models.coverage import CoverageReport, best_fit, compare, likely_cause, refusal
from omnireid.models.layer_plan import COUNTER, Shape
from omnireid.models.zoo import ARCHITECTURES
from omnireid.types import FloatArray

if TYPE_CHECKING:
    from omnireid.models.backbone import Backbone

Tensors = Mapping[str, npt.NDArray[np.generic]]


def usable_values(key: str, values: FloatArray, where: str) -> FloatArray:
    """Check that weights are finite, and set denormal values to 0.

    Weight decay leaves dead channels with denormal weights (639 of them in the public osnet_x0_25), and a processor
    multiplies those many times slower. Without them the same file embeds 1.7 times as fast in torch, to the same
    embeddings to the last bit: benchmarks/denormals.py.

    Args:
        key: Name of the tensor, for the message.
        values: Its values in float32.
        where: Name of the file, for the message.

    Returns:
        A new array.

    Raises:
        CheckpointError: A value is not finite.
    """
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise CheckpointError(
            f"{where}: {key} has {bad} values that are not finite (NaN or infinity) out of {values.size}. "
            "The training that wrote it diverged, or the file is damaged: use an earlier checkpoint."
        )
    return np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)


def usable_state(
    tensors: Tensors, expected: Mapping[str, Shape], *, where: str
) -> tuple[dict[str, npt.NDArray[np.generic]], CoverageReport]:
    """Hold tensors in our own key names against a network, and make its whole state of them.

    Args:
        tensors: Key to values of a floating-point type; step counters may be integers or missing.
        expected: Key to shape in the network.
        where: What to call the tensors in a message, such as the file they came from.

    Returns:
        Every key of the network with its values in float32, denormal values as 0; and what became of every key.
        A classifier that the network has no place for is left out.

    Raises:
        CoverageError: A tensor is missing, has another shape, or belongs to another backbone.
        CheckpointError: A value is not finite or not a float; the message names the key.
    """
    found = {key: tuple(values.shape) for key, values in tensors.items()}
    report, targets = compare(_name_of(expected), found, expected)
    if not report.is_complete:
        raise CoverageError(refusal(where, report, likely_cause(found, report, best_fit(found))))
    state: dict[str, npt.NDArray[np.generic]] = {}
    for key, shape in expected.items():
        if key not in targets:  # only a counter may be missing from a complete report
            state[key] = np.zeros(shape, dtype=np.int64)
        elif key.endswith(COUNTER):
            state[key] = tensors[key]
        elif not np.issubdtype(tensors[key].dtype, np.floating):
            raise CheckpointError(
                f"{where}: {key} holds {tensors[key].dtype} values, which cannot be weights. Give a plain "
                "floating-point checkpoint."
            )
        else:
            with np.errstate(over="ignore", under="ignore"):
                state[key] = usable_values(key, tensors[key].astype(np.float32), where)
    return state, report


def load_state(model: Backbone, tensors: Tensors, *, where: str = "This state") -> CoverageReport:
    """Fill `model`, in place, with tensors in our own key names, whole or not at all; see `usable_state`.

    Args:
        model: The network to fill.
        tensors: Key of ``model.state_dict()`` to values.
        where: What to call the tensors in a message, such as the file they came from.

    Raises:
        CoverageError: A tensor is missing, has another shape, or belongs to another backbone.
        CheckpointError: A value is not finite or not a float; the message names the key.
    """
    import torch

    own = model.state_dict()
    state, report = usable_state(tensors, {key: tuple(tensor.shape) for key, tensor in own.items()}, where=where)
    with torch.no_grad():
        for key, values in state.items():
            own[key].copy_(torch.tensor(values))
    return report


def _name_of(shapes: Mapping[str, Shape]) -> str:
    """Which network has a state of these shapes, for a message."""
    own = {key: shape for key, shape in shapes.items() if not key.startswith("classifier.")}
    return next((name for name, known in ARCHITECTURES.items() if known.key_layout.shapes == own), "this network")
