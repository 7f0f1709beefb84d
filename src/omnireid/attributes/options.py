"""How a head is trained. No heavy imports."""

from __future__ import annotations

from dataclasses import dataclass

from omnireid.errors import SettingError


@dataclass(frozen=True)
class FittingOptions:
    """How a head is trained.

    Attributes:
        penalty: Weight of the squared norm in the loss, above 0, for embeddings scaled to unit variance. With a larger
            one the head is more cautious about rare attributes; with a smaller one it fits the training people closer.
        leave_out: Tasks or attributes that the head must not learn, such as female or age.

    Raises:
        SettingError: The penalty is not above 0.
    """

    penalty: float = 0.1
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.penalty < float("inf"):
            raise SettingError(f"penalty must be above 0, such as 0.1; got {self.penalty!r}.")
