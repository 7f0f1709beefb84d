"""How sightings are added. No heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FloatType = Literal["float16", "float32"]


@dataclass(frozen=True, kw_only=True)
class AddOptions:
    """How crops are added to a gallery.

    Attributes:
        float_type: How a new gallery stores embeddings. float16 halves the space; float32 keeps every bit.
        timezone: Zone of times that state none, such as Europe/Berlin. Without it such times are refused.
    """

    float_type: FloatType = "float16"
    timezone: str | None = None
