"""What a user says about weights whose file does not say it."""

from __future__ import annotations

from dataclasses import dataclass

from omnireid.terms import Distance


@dataclass(frozen=True, kw_only=True)
class WeightsDescription:
    """What a user says about weights. None leaves a value as the file, or what is known of the file, has it.

    Attributes:
        architecture: Name of the network. A checkpoint needs it only where its keys fit several networks.
        licence: Terms of the weights, in one line.
        training_data: Data set the weights were trained on.
        distance: Distance by which the embeddings are meant to be compared: euclidean unless the file says otherwise.
        height: Input height used in training, in pixels: 256 unless the file says otherwise.
        width: Input width used in training, in pixels: 128 unless the file says otherwise.
        mean: Red, green and blue mean, in [0, 1], that an ONNX graph expects to be subtracted from its input.
        std: Red, green and blue standard deviation, in [0, 1], that an ONNX graph expects its input to be divided by.
        output_name: Name of the output with the embeddings, needed only for an ONNX graph with several outputs.
    """

    architecture: str | None = None
    licence: str | None = None
    training_data: str | None = None
    distance: Distance | None = None
    height: int | None = None
    width: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    output_name: str | None = None
