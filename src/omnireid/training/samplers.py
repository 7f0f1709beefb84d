"""Which crops come in which batch: a whole epoch at a time, as a function of seed and epoch.

A sampler's ``batches(epoch)`` returns (S, B) indices, where S is the sampler's
``len``. To resume in the middle of an epoch, leave the first rows out. `shard` takes
a rank's share of each row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from omnireid.errors import RecipeError
from omnireid.types import IntArray


def shard(batches: IntArray, rank: int, world_size: int) -> IntArray:
    """Take a rank's share of each batch, (S, B // world_size). The shares do not overlap, and together are the batch.

    Raises:
        RecipeError: The batch cannot be shared equally.
    """
    if batches.shape[1] % world_size:
        raise RecipeError(
            f"A batch of {batches.shape[1]} crops cannot be shared by {world_size} ranks: make --batch-size a multiple "
            f"of {world_size}."
        )
    share = batches.shape[1] // world_size
    return batches[:, rank * share : (rank + 1) * share]


@dataclass(frozen=True)
class RandomSampler:
    """Every crop once an epoch, in a new order each time. Crops that do not fill a last batch are left out.

    Attributes:
        count: Number of crops.
        batch_size: Crops in a batch, B.
        seed: Seed for the orders.

    Raises:
        RecipeError: A batch is larger than the data.
    """

    count: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        _check_positive(batch_size=self.batch_size)
        if self.count < self.batch_size:
            raise RecipeError(
                f"A batch of {self.batch_size} crops is larger than the data, which has {self.count}: lower "
                "--batch-size, or give more data."
            )

    def __len__(self) -> int:
        return self.count // self.batch_size

    def batches(self, epoch: int) -> IntArray:
        """(S, B) crops of each step of an epoch, counted from 0."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        return order[: len(self) * self.batch_size].reshape(len(self), self.batch_size)


@dataclass(frozen=True, eq=False)
class IdentitySampler:
    """Batches of P identities with K crops of each; the crops of an identity stand beside each other.

    An epoch has every crop about once. An identity of n crops gives ceil(n / K) groups of K, with its crops in a new
    order each epoch. Crops that do not fill the last group are used again (an identity with fewer than K crops repeats
    some in one group). An identity with more groups than the epoch has batches shows a part of its crops in one epoch
    and another part in the next. If the groups do not fill the last batch, some identities give an extra group; they
    are different ones each epoch.

    Attributes:
        identities: (N,) identity of each crop.
        cameras: (N,) camera of each crop, or None if cameras are not known.
        identities_per_batch: Identities in a batch, P.
        images_per_identity: Crops of each identity in a batch, K.
        seed: Seed for the orders.
        balance_cameras: Spread the crops of each of an identity's cameras evenly over its groups.

    Raises:
        RecipeError: There are fewer identities than P, or `balance_cameras` is set without cameras.

    Source: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017.
    """

    identities: IntArray
    cameras: IntArray | None
    identities_per_batch: int
    images_per_identity: int
    seed: int
    balance_cameras: bool = False
    _groups: IntArray = field(init=False, repr=False)
    _counts: IntArray = field(init=False, repr=False)
    _steps: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_positive(images_per_identity=self.images_per_identity, identities_per_batch=self.identities_per_batch)
        if self.balance_cameras and self.cameras is None:
            raise RecipeError("--balance-cameras needs camera ids, and the data has none. Leave the flag out.")
        counts = np.unique(self.identities, return_counts=True)[1]
        if len(counts) < self.identities_per_batch:
            raise RecipeError(
                f"A batch of {self.identities_per_batch} identities, but the data has {len(counts)}: lower --batch-size"
                f" to {len(counts) * self.images_per_identity} or less, or raise --images-per-identity."
            )
        groups = -(-counts // self.images_per_identity)
        steps = -(-int(groups.sum()) // self.identities_per_batch)
        # An identity comes at most once in a batch, so its groups are cut to the number of batches. That makes the
        # epoch shorter, which may cut another identity: repeat until nothing changes.
        while (groups > steps).any():
            groups = np.minimum(groups, steps)
            steps = -(-int(groups.sum()) // self.identities_per_batch)
        object.__setattr__(self, "_groups", groups.astype(np.int64))
        object.__setattr__(self, "_counts", counts.astype(np.int64))
        object.__setattr__(self, "_steps", steps)

    def __len__(self) -> int:
        return self._steps

    def batches(self, epoch: int) -> IntArray:
        """(S, P × K) crops of each step of an epoch, counted from 0."""
        rng = np.random.default_rng([self.seed, epoch])
        groups = self._groups.copy()
        while missing := self._steps * self.identities_per_batch - int(groups.sum()):
            groups[rng.permutation(np.flatnonzero(groups < self._steps))[:missing]] += 1
        crops, starts = self._grouped_crops(groups, rng)
        people = self._placed_identities(groups, rng)  # (S, P)
        # An identity shows its first group in its first batch, the second in its second batch, and so on.
        order = np.argsort(people.reshape(-1), kind="stable")
        group = np.empty(people.size, dtype=np.int64)
        group[order] = np.arange(people.size)
        firsts = np.cumsum(groups) - groups
        number = starts[people] + (group.reshape(people.shape) - firsts[people]) * self.images_per_identity
        groups_of_crops: IntArray = crops[number[..., None] + np.arange(self.images_per_identity)]
        return groups_of_crops.reshape(len(people), -1)

    def _grouped_crops(self, groups: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """List the crops of each identity in groups of K, and the position at which each identity begins.

        An identity's crops come in a new order, repeated until its groups are full. They are then sorted by camera and
        dealt to the groups in turn, so that each group gets as many cameras as possible, and no crop twice if the
        identity has K crops.
        """
        lots = rng.permutation(len(self.identities))
        shuffled = np.lexsort((lots, self.identities))
        slots = groups * self.images_per_identity
        starts = np.cumsum(slots) - slots
        owner = np.repeat(np.arange(len(groups)), slots)
        turn = np.arange(len(owner)) - starts[owner]
        chosen = shuffled[(np.cumsum(self._counts) - self._counts)[owner] + turn % self._counts[owner]]
        camera_lots = np.zeros(len(owner), dtype=np.int64)
        if self.balance_cameras and self.cameras is not None:
            camera_lots = rng.permutation(int(self.cameras.max()) + 1)[self.cameras[chosen]]
        dealt = np.lexsort((lots[chosen], camera_lots, owner))
        place = starts[owner] + turn % groups[owner] * self.images_per_identity + turn // groups[owner]
        crops = np.empty_like(chosen)
        crops[place] = chosen[dealt]
        return crops, starts

    def _placed_identities(self, groups: IntArray, rng: np.random.Generator) -> IntArray:
        """Choose the identities of each batch, (S, P), none of them twice in a batch.

        Identities are laid out in rows of S, and each row is spread over the batches in a new order. If an identity
        runs over into the next row, its groups there go to batches that do not have it yet.
        """
        people = rng.permutation(len(groups))
        rows = np.repeat(people, groups[people]).reshape(self.identities_per_batch, self._steps)
        places = np.empty((self._steps, self.identities_per_batch), dtype=np.int64)
        before = np.empty(0, dtype=np.int64)
        for number, row in enumerate(rows):
            batches = rng.permutation(self._steps)
            if number and row[0] == rows[number - 1, -1]:
                run = int((row == row[0]).sum())
                taken = np.isin(batches, before[rows[number - 1] == row[0]])
                free = batches[~taken]
                batches = np.r_[free[:run], rng.permutation(np.r_[free[run:], batches[taken]])]
            places[batches, number] = row
            before = batches
        return places


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise RecipeError(f"{name} must be at least 1; got {value}.")
