"""``omnireid inspect``: what a file of weights is."""

from __future__ import annotations

from omnireid.commands.options import (
    ArchitectureOption,
    JsonOption,
    StateOption,
    WeightsPositional,
    check_json,
    leave_json,
    text_stream,
)
from omnireid.weights.shipped import DEFAULT_WEIGHTS


def inspect(
    weights: WeightsPositional = DEFAULT_WEIGHTS,
    *,
    architecture: ArchitectureOption = None,
    state: StateOption = None,
    json: JsonOption = None,
) -> None:
    """Say what a file of weights is, its licence, and how it covers its network.

    Nothing in the file is executed. A file that cannot be used is reported key by
    key all the same, and the exit code is 2.

    Example: omnireid inspect osnet_x0_25_market1501.pth
    """
    from omnireid.errors import WeightsError
    from omnireid.weights.examination import examine

    check_json(json, inputs=[weights])
    found = examine(weights, architecture=architecture, state=state)
    print(found.table(), file=text_stream(json))
    leave_json(json, found.json())
    if found.refusal is not None:
        raise WeightsError(found.refusal)
