"""Claim: `/v1/embed` reaches 0.8 of the rate at which the network embeds crops without a service.

First comes the network's own rate in this process, which is the baseline: crops a second that `Embedder.embed` embeds
from JPEG bytes, so decoding counts in it, in calls of 32 crops (one batch on all cores) and of 512 (a stream of batches
side by side). Then `omnireid serve` serves a gallery of drawn people in a process of its own, and 16 connections ask
`/v1/embed` as fast as they are answered, with one crop as the body of a request, and with 1, 8 and 32 crops in a form.
They share the cores with the service. So that they take little of them, one thread sends requests that were written
before the measurement.

For each of these the share of both baselines is printed, by rate and by processor time. The latter is the baseline's
processor seconds for a crop, divided by the service's: the share that the service would reach if its clients ran on
another machine. It depends less on what else runs here. The processor time of the clients is printed beside.

Run: python benchmarks/service_embed.py [--seconds 10] [--weights WEIGHTS]    (a minute)
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from omnireid import load_embedder
from omnireid.machine import describe
from service_load import Served, make_gallery, serving

CONNECTIONS = 16
KINDS = {"1 crop, the body": 0, "1 crop, a form": 1, "8 crops": 8, "32 crops": 32}
"""What is asked for: the number of crops in a form, 0 for one without a form."""

CROPS_A_CALL = (32, 512)
BOUNDARY = "crops-of-drawn-people"


@dataclass(frozen=True)
class Rate:
    """How fast crops were embedded.

    Attributes:
        crops: Crops a second.
        busy: Processor seconds that whoever embedded them took for a crop.
        clients: Processor seconds that the clients took for a crop.
    """

    crops: float
    busy: float
    clients: float = 0.0


def network_rate(crops: Sequence[bytes], weights: str | None, size: int, seconds: float) -> Rate:
    """The rate of the network alone, in calls of `size` crops."""
    embedder = load_embedder() if weights is None else load_embedder(weights)
    call = [crops[row % len(crops)] for row in range(size)]
    embedder.embed(call)
    done, began, busy = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        embedder.embed(call)
        done += size
    return Rate(done / (time.perf_counter() - began), (time.process_time() - busy) / done)


def request_of(address: str, crops: Sequence[bytes], *, in_form: bool) -> bytes:
    """The bytes of a request that asks for the embeddings of crops."""
    media_type, body = "image/jpeg", crops[0]
    if in_form:
        media_type = f"multipart/form-data; boundary={BOUNDARY}"
        part = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="crops"; filename="crop"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        ).encode()
        body = b"".join([*(part + crop + b"\r\n" for crop in crops), f"--{BOUNDARY}--\r\n".encode()])
    head = (
        f"POST /v1/embed HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\nAccept: application/octet-stream\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class AskingConnection(asyncio.Protocol):
    """Sends one request after the other, each when the one before it is answered, until its time is over."""

    def __init__(self, requests: Sequence[bytes], until: float) -> None:
        self.requests = itertools.cycle(requests)
        self.until = until
        self.answers = 0
        self.received = bytearray()
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        """Send the next request when the answer is complete."""
        self.received += data
        head, found, body = bytes(self.received).partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.end.set_exception(SystemExit(f"/v1/embed answered {bytes(self.received[:500])!r}"))
            self.transport.close()
        elif len(body) == int(head.lower().partition(b"content-length:")[2].split()[0]):
            self.answers += 1
            self.received.clear()
            if time.perf_counter() < self.until:
                self.transport.write(next(self.requests))
            else:
                self.transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Say that nothing more comes."""
        if not self.end.done():
            self.end.set_result(None)


async def count_answers(address: str, requests: Sequence[bytes], seconds: float) -> int:
    """The number of answers that all connections got."""
    until, parts = time.perf_counter() + seconds, urlsplit(address)
    connections = [AskingConnection([*requests[n:], *requests[:n]], until) for n in range(CONNECTIONS)]
    for connection in connections:
        made = functools.partial(lambda one: one, connection)
        await asyncio.get_running_loop().create_connection(made, str(parts.hostname), parts.port or 80)
    await asyncio.gather(*(connection.end for connection in connections))
    return sum(connection.answers for connection in connections)


def service_rate(served: Served, crops: Sequence[bytes], in_form: int, seconds: float) -> Rate:
    """The rate of `/v1/embed`, with so many crops in the form of a request, or one without a form."""
    size = in_form or 1
    chosen = [[crops[(number + row) % len(crops)] for row in range(size)] for number in range(4 * CONNECTIONS)]
    requests = [request_of(served.address, some, in_form=bool(in_form)) for some in chosen]
    asyncio.run(count_answers(served.address, requests, seconds / 10))
    busy, clients, began = served.processor_seconds(), time.process_time(), time.perf_counter()
    count = size * asyncio.run(count_answers(served.address, requests, seconds))
    taken = time.perf_counter() - began
    return Rate(count / taken, (served.processor_seconds() - busy) / count, (time.process_time() - clients) / count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="seconds for each measurement; there are six")
    parser.add_argument("--weights")
    given = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="omnireid-service-") as place:
        gallery, crops = make_gallery(Path(place), 400, given.weights)
        own = {size: network_rate(crops, given.weights, size, given.seconds) for size in CROPS_A_CALL}
        for size, rate in own.items():
            busy = f"{1000 * rate.busy:.2f} ms of processor time a crop"
            print(f"network alone, {size:>3} crops a call: {rate.crops:,.0f} crops/s, {busy}")
        flags = [] if given.weights is None else ["--weights", given.weights]
        with serving(gallery, Path(place) / "kept", *flags) as served:
            for kind, in_form in KINDS.items():
                rate = service_rate(served, crops, in_form, given.seconds)
                print(
                    f"/v1/embed, {kind}: {rate.crops:,.0f} crops/s; processor time a crop: service "
                    f"{1000 * rate.busy:.2f} ms, clients {1000 * rate.clients:.2f} ms"
                )
                for call, alone in own.items():
                    print(
                        f"  share of the network's own rate in calls of {call:>3}: {rate.crops / alone.crops:.2f}, "
                        f"by processor time {alone.busy / rate.busy:.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
