"""What a user says about weights whose file does not say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omnireid.terms import Distance

ChannelOrder = Literal["rgb", "bgr"]


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
        source: Where the weights come from, such as the address of their page.
        channels: Order in which a graph of others takes the colours: rgb unless you say bgr.
        range: Value of a white pixel in the input of a graph of others. With 255 it takes pixel values as they are.
        mean: Red, green and blue mean, in the same range (by default [0, 1]), that a graph of others expects to be
            subtracted from its input. With a range the default is 0.
        std: Red, green and blue standard deviation, in the same range, that a graph of others expects its input to be
            divided by. With a range the default is 1.
        output_name: Name of the output with the embeddings, needed only for a graph with several outputs.
    """

    architecture: str | None = None
    licence: str | None = None
    training_data: str | None = None
    distance: Distance | None = None
    height: int | None = None
    width: int | None = None
    source: str | None = None
    channels: ChannelOrder | None = None
    range: Literal[1, 255] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    output_name: str | None = None
