from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnireid.errors import RecipeError
from omnireid.training.samplers import IdentitySampler, RandomSampler, shard
from omnireid.types import IntArray

COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=9)
SEEDS = st.integers(0, 2**32 - 1)


def market_like() -> IntArray:
    """Identities of 12 936 crops of 751 people, some with one crop and some with dozens, in no order."""
    rng = np.random.default_rng(0)
    weights = rng.gamma(3, size=751)
    more = rng.choice(751, 12936 - 751, p=weights / weights.sum())
    return rng.permutation(np.r_[np.arange(751), more]).astype(np.int64)


def identities_of(counts: list[int], seed: int = 0) -> IntArray:
    """Identities 0, 3, 6, …: nothing may rest on their being 0, 1, 2, …"""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3, counts)).astype(np.int64)


def groups_of(batches: IntArray, images: int) -> IntArray:
    """(all groups, K) crops."""
    return batches.reshape(-1, images)


def check_batches(batches: IntArray, identities: IntArray, people: int, images: int) -> None:
    """P identities in a batch, none twice, the K crops of each beside each other."""
    shown = identities[batches].reshape(len(batches), people, images)
    assert (shown == shown[:, :, :1]).all()
    assert all(len(set(row)) == people for row in shown[:, :, 0].tolist())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), SEEDS, st.integers(0, 10**6))
def test_random_batches_have_each_crop_once(count: int, size: int, seed: int, epoch: int) -> None:
    size = min(size, count)
    sampler = RandomSampler(count, size, seed)
    batches = sampler.batches(epoch)
    assert batches.shape == (len(sampler), size) == (count // size, size)
    crops = batches.reshape(-1).tolist()
    assert len(set(crops)) == len(crops)
    assert set(crops) <= set(range(count))
    assert RandomSampler(count, size, seed).batches(epoch).tolist() == batches.tolist()


def test_random_epochs_and_seeds_differ_and_leave_out_other_crops() -> None:
    sampler = RandomSampler(10, 4, 0)
    epochs = [sampler.batches(epoch).reshape(-1).tolist() for epoch in range(20)]
    assert len({tuple(epoch) for epoch in epochs}) == 20
    assert RandomSampler(10, 4, 1).batches(0).reshape(-1).tolist() != epochs[0]
    assert set().union(*epochs) == set(range(10))


def test_frozen_batches() -> None:
    """A change here changes every run ever made, and breaks the resuming of those under way."""
    assert RandomSampler(10, 4, 0).batches(3).tolist() == [[2, 7, 8, 3], [4, 9, 1, 6]]
    identities, cameras = np.repeat(np.arange(3), [4, 3, 5]), np.arange(12) % 3
    assert IdentitySampler(identities, cameras, 2, 2, 0, balance_cameras=True).batches(1).tolist() == [
        [7, 9, 1, 0],
        [7, 8, 4, 6],
        [10, 8, 3, 2],
        [9, 11, 4, 5],
    ]


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.integers(1, 9), st.integers(1, 5), SEEDS, st.integers(0, 10**6), st.booleans())
def test_identity_batches(
    counts: list[int], people: int, images: int, seed: int, epoch: int, balance_cameras: bool
) -> None:
    people = min(people, len(counts))
    identities = identities_of(counts, seed)
    cameras = np.random.default_rng(seed + 1).integers(0, 4, len(identities))
    sampler = IdentitySampler(identities, cameras, people, images, seed, balance_cameras)
    first, again, later = sampler.batches(epoch), sampler.batches(epoch), sampler.batches(epoch + 1)
    assert first.shape == later.shape == (len(sampler), people * images)
    assert first.tolist() == again.tolist()
    check_batches(first, identities, people, images)
    shown = Counter(first.reshape(-1).tolist())
    for identity, count in enumerate(counts):
        own = [shown[crop] for crop in np.flatnonzero(identities == identity * 3).tolist()]
        needed = -(-count // images)
        if needed <= len(sampler):
            assert min(own) >= 1  # every crop of an identity that is not cut short
        else:
            assert sum(own) == len(sampler) * images  # a cut one is in every batch
        assert max(own) - min(own) <= 1  # begun again only when all were shown


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(1, 5), SEEDS)
def test_no_crop_twice_in_a_group_where_an_identity_has_enough(counts: list[int], images: int, seed: int) -> None:
    identities = identities_of(counts, seed)
    sampler = IdentitySampler(identities, None, len(counts), images, seed)
    for group in groups_of(sampler.batches(0), images):
        available = int((identities == identities[group[0]]).sum())
        assert len(set(group.tolist())) == min(images, available)


def test_epochs_differ_but_not_in_length() -> None:
    sampler = IdentitySampler(identities_of([7, 3, 9, 1, 4]), None, 2, 4, 0)
    epochs = [sampler.batches(epoch) for epoch in range(8)]
    assert {epoch.shape for epoch in epochs} == {(len(sampler), 8)}
    assert len({epoch.tobytes() for epoch in epochs}) == 8
    other = IdentitySampler(sampler.identities, None, 2, 4, 1)
    assert other.batches(0).tobytes() != epochs[0].tobytes()


def test_identities_that_fill_the_last_batch_change_from_epoch_to_epoch() -> None:
    identities = np.repeat(np.arange(5), 4)  # five groups, in batches of three: one identity comes twice
    sampler = IdentitySampler(identities, None, 3, 4, 0)
    assert len(sampler) == 2
    twice = set()
    for epoch in range(40):
        shown = Counter(identities[groups_of(sampler.batches(epoch), 4)[:, 0]].tolist())
        assert sorted(shown.values()) == [1, 1, 1, 1, 2]
        twice |= {person for person, times in shown.items() if times == 2}
    assert twice == set(range(5))


@pytest.mark.parametrize(
    ("counts", "people", "steps"),
    [
        # The most steps S in which each identity, with at most S groups, leaves less than a batch to be filled up.
        ([500, *[5] * 10], 8, 3),  # 3 + 10 × 2 groups fill two batches of 8 and most of a third
        ([500, 8, 8, 8], 4, 3),  # 3 + 3 × 2 groups fill two batches of 4 and one place
        ([500], 1, 125),  # alone, it is not cut at all
        ([500, 500, 1], 2, 126),  # nor where others have as many
    ],
)
def test_unbalanced_data_makes_the_epoch_short(counts: list[int], people: int, steps: int) -> None:
    identities = identities_of(counts)
    sampler = IdentitySampler(identities, None, people, 4, 0)
    assert len(sampler) == steps
    check_batches(sampler.batches(0), identities, people, 4)


def test_a_cut_identity_shows_other_crops_in_later_epochs() -> None:
    identities = identities_of([40, 8, 8, 8])
    sampler = IdentitySampler(identities, None, 4, 4, 0)
    assert len(sampler) == 3
    large = set(np.flatnonzero(identities == 0).tolist())
    shown = [large & set(sampler.batches(epoch).reshape(-1).tolist()) for epoch in range(40)]
    assert all(len(crops) == 12 for crops in shown)
    assert set().union(*shown) == large


def test_one_image_an_identity_comes_several_times_in_its_group() -> None:
    batches = IdentitySampler(np.arange(6), None, 3, 4, 0).batches(0)
    assert (groups_of(batches, 4) == groups_of(batches, 4)[:, :1]).all()
    assert sorted(batches.reshape(-1).tolist()) == sorted([*range(6)] * 4)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(1, 5), st.integers(1, 6), SEEDS)
def test_balanced_groups_have_as_many_cameras_as_a_deal_can_give(
    counts: list[int], images: int, many: int, seed: int
) -> None:
    identities = identities_of(counts, seed)
    cameras = np.random.default_rng(seed).integers(0, many, len(identities)) ** 2
    groups = groups_of(IdentitySampler(identities, cameras, 1, images, seed, True).batches(0), images)
    for person in np.unique(identities):
        own = cameras[groups[identities[groups[:, 0]] == person]]  # (groups, K)
        for camera in np.unique(own):
            each = (own == camera).sum(axis=1)
            # Whatever a group has of a camera, no other has two more: so all have it where it has a crop for each.
            assert each.max() - each.min() <= 1


def test_a_group_has_every_camera_where_they_are_even() -> None:
    identities = np.repeat(np.arange(6), 12)
    cameras = np.tile(np.repeat(np.arange(4), 3), 6)
    for images, expected in ((4, 4), (2, 2), (6, 4)):
        groups = groups_of(IdentitySampler(identities, cameras, 3, images, 5, True).batches(2), images)
        assert {len(set(group)) for group in cameras[groups].tolist()} == {expected}


def test_balance_gives_more_cameras_a_group() -> None:
    identities = market_like()
    cameras = np.random.default_rng(1).choice(6, len(identities), p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05])

    def mean_cameras(balance: bool) -> float:
        groups = groups_of(IdentitySampler(identities, cameras, 16, 4, 0, balance).batches(0), 4)
        return float(np.mean([len(set(row)) for row in cameras[groups].tolist()]))

    assert mean_cameras(True) > mean_cameras(False) + 0.25


def test_cameras_are_not_looked_at_without_balance() -> None:
    identities = identities_of([7, 3, 9, 1, 4])
    cameras = np.arange(len(identities)) % 3
    without = IdentitySampler(identities, None, 2, 4, 0).batches(0)
    assert IdentitySampler(identities, cameras, 2, 4, 0).batches(0).tolist() == without.tolist()


def test_batches_share_no_more_identities_than_chance_gives() -> None:
    """Groups of an identity must not travel together: batches of the same people would train on one batch twice."""
    identities = market_like()
    sampler = IdentitySampler(identities, None, 16, 4, 0)
    batches = sampler.batches(0)
    assert len(np.unique(batches)) == len(identities)
    rng = np.random.default_rng(0)

    def nearest_overlap(people: list[set[int]]) -> float:
        return float(np.mean([max(len(one & two) for two in people if two is not one) for one in people]))

    shown = nearest_overlap([set(row) for row in identities[batches[:, ::4]].tolist()])
    times = np.bincount(identities[batches[:, ::4]].reshape(-1))
    chance = [set(rng.choice(751, 16, replace=False, p=times / times.sum()).tolist()) for _ in range(len(sampler))]
    assert shown < nearest_overlap(chance) + 0.3


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_shares_are_disjoint_and_together_the_batch(world_size: int) -> None:
    batches = IdentitySampler(identities_of([7, 3, 9, 1, 4]), None, 3, 4, 0).batches(0)
    shares = [shard(batches, rank, world_size) for rank in range(world_size)]
    assert {share.shape for share in shares} == {(len(batches), 12 // world_size)}
    assert np.concatenate(shares, axis=1).tolist() == batches.tolist()
    random = RandomSampler(25, 12, 0).batches(0)
    crops = [set(shard(random, rank, world_size).reshape(-1).tolist()) for rank in range(world_size)]
    assert sum(map(len, crops)) == len(set().union(*crops)) == 24


def test_to_resume_is_to_leave_rows_out() -> None:
    """The epoch is made as a whole, so what comes after step 3 does not depend on having gone through the first 3."""
    identities = identities_of([7, 3, 9, 1, 4, 20])
    through = [row.tolist() for row in IdentitySampler(identities, None, 2, 2, 0).batches(4)]
    resumed = IdentitySampler(identities, None, 2, 2, 0)
    resumed.batches(9)  # nor on epochs asked for before
    assert resumed.batches(4)[3:].tolist() == through[3:]
    assert shard(resumed.batches(4)[3:], 1, 2).tolist() == shard(resumed.batches(4), 1, 2)[3:].tolist()


def test_the_data_stay_as_they_were() -> None:
    identities, cameras = identities_of([4, 4, 4]), np.arange(12) % 3
    # Writing to either raises.
    identities.flags.writeable = cameras.flags.writeable = False
    assert IdentitySampler(identities, cameras, 2, 2, 0, True).batches(0).shape == (3, 4)


def test_what_is_refused() -> None:
    identities = np.repeat(np.arange(3), 4)
    cases: list[tuple[Callable[[], object], str]] = [
        (
            lambda: RandomSampler(3, 4, 0),
            "A batch of 4 crops is larger than the data, which has 3: lower --batch-size, or give more data.",
        ),
        (lambda: RandomSampler(3, 0, 0), "batch_size must be at least 1; got 0."),
        (
            lambda: IdentitySampler(identities, None, 4, 2, 0),
            "A batch of 4 identities, but the data has 3: lower --batch-size to 6 or less, or raise "
            "--images-per-identity.",
        ),
        (lambda: IdentitySampler(identities, None, 0, 2, 0), "identities_per_batch must be at least 1; got 0."),
        (lambda: IdentitySampler(identities, None, 2, -1, 0), "images_per_identity must be at least 1; got -1."),
        (
            lambda: IdentitySampler(identities, None, 2, 2, 0, balance_cameras=True),
            "--balance-cameras needs camera ids, and the data has none. Leave the flag out.",
        ),
        (
            lambda: shard(np.zeros((2, 6), np.int64), 0, 4),
            "A batch of 6 crops cannot be shared by 4 ranks: make --batch-size a multiple of 4.",
        ),
    ]
    for refused, message in cases:
        with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
            refused()
