from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests.embedding.colours import colour_embedder, mean_colour

from omnireid.errors import BusyError
from omnireid.service.batching import SharedBatches, shared_batches


class Network:
    """A network that waits until it may run, and notes its batches: their size, and whether they had one core."""

    def __init__(self, running: int = 1) -> None:
        self.may_run = threading.Event()
        self.are_running = threading.Barrier(running)
        self.batches: list[tuple[int, bool]] = []

    def embed(self, crops: Any, *, beside_others: bool) -> Any:
        pixels = np.stack(crops)
        self.are_running.wait(60)
        self.may_run.wait(60)
        self.batches.append((len(pixels), beside_others))
        if pixels.max() == 255:
            raise ValueError("too bright")
        return mean_colour(pixels)

    def started(self, side_by_side: int = 1, most_crops: int = 32) -> SharedBatches:
        batches = SharedBatches(self.embed, lambda _size: None, most_crops=most_crops, side_by_side=side_by_side)
        batches.start()
        return batches


def grey(*values: int) -> list[Any]:
    return [np.full((4, 2, 3), value, dtype=np.uint8) for value in values]


def test_crops_that_wait_share_a_batch_and_get_their_own_embeddings() -> None:
    network = Network()
    batches = network.started()
    waiting = [batches.submit(grey(value, value + 100)) for value in range(50)]
    network.may_run.set()
    for value, future in enumerate(waiting):
        assert future.result(60).tolist() == [[value] * 3, [value + 100] * 3]
    batches.stop()
    sizes = [size for size, _ in network.batches]
    assert sum(sizes) == 100
    assert max(sizes) == 32
    assert len(sizes) < 10


def test_batches_run_side_by_side_and_share_what_waits() -> None:
    network = Network(running=2)  # none goes on before two run
    batches = network.started(side_by_side=2)
    network.may_run.set()
    embedded = batches.submit(grey(*range(10)), is_alone=True).result(60)
    assert embedded.tolist() == [[value] * 3 for value in range(10)]
    batches.stop()
    assert sorted(network.batches) == [(5, True), (5, True)]


def test_the_only_request_has_all_cores() -> None:
    network = Network()
    network.may_run.set()
    batches = network.started()
    for is_alone in (True, False):
        batches.submit(grey(1, 2), is_alone=is_alone).result(60)
    batches.stop()
    assert network.batches == [(2, False), (2, True)]


def test_the_error_of_one_crop_is_not_the_others() -> None:
    network = Network()
    batches = network.started()
    waiting = [batches.submit(grey(*values)) for values in ((1,), (255, 2, 255), (3,))]
    network.may_run.set()
    assert waiting[0].result(60).tolist() == [[1] * 3]
    with pytest.raises(ValueError, match="too bright"):
        waiting[1].result(60)
    assert waiting[2].result(60).tolist() == [[3] * 3]
    assert batches.submit(grey(7)).result(60).tolist() == [[7] * 3], "the thread goes on"
    last = batches.submit(grey(8))
    batches.stop()
    assert last.result(0).tolist() == [[8] * 3], "what was accepted is embedded before it stops"


def test_nobody_waits_for_what_was_given_up() -> None:
    network = Network()
    batches = network.started(most_crops=1)
    first, given_up = batches.submit(grey(1)), batches.submit(grey(2))
    assert given_up.cancel()
    network.may_run.set()
    assert first.result(60).tolist() == [[1] * 3]
    batches.stop()
    assert network.batches == [(1, True)]


def test_a_queue_that_is_full_says_so() -> None:
    batches = SharedBatches(Network().embed, lambda _size: None, most_crops=32)  # nobody takes from it
    with pytest.raises(BusyError, match="wait for the network already"):
        for _ in range(30):
            batches.submit(grey(*[0] * 64))


@pytest.mark.parametrize(("streams", "largest"), [(1, 32), (2, 20)])
def test_a_network_is_run_as_it_embeds_most(streams: int, largest: int) -> None:
    """With streams there are as many threads, and they share the 40 crops of an idle network."""
    sizes: list[int] = []
    batches = shared_batches(colour_embedder(streams=streams), sizes.append)
    batches.start()
    embedded = batches.submit(grey(*range(40))).result(60)
    batches.stop()
    assert np.array_equal(embedded, mean_colour(np.stack(grey(*range(40)))))
    assert max(sizes) <= largest
    assert sum(sizes) == 40
