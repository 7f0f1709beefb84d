"""The chunks of a job embedded by many processes, also on many machines, through Ray Data."""

from __future__ import annotations

import io
import os
import pickle
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from omnireid.embedding.chunks import embed_chunks
from omnireid.embedding.embedder import Embedder
from omnireid.embedding.tables import to_arrow
from omnireid.errors import ClusterError, ModelError, OmnireidError, SettingError, error_class, first_line, require
from omnireid.types import Crops

AUTO = "auto"
"""The name of the cluster that this machine is part of; of one that is started here where it is in none."""

PORT = 10001
"""Port of Ray's server of clients, where an address names none."""

OBJECT_STORE_BYTES = 512 * 2**20
"""Memory for chunks on their way, in a cluster that is started here. A chunk of 1,024 crops takes 2 MiB."""

_LOSSES = 3
"""How often in a row the cluster may lose the process that runs Ray Data for a client, with no chunk finished."""

_ATTEMPTS = 4
"""How often a client tries to join."""

CONNECT_S = 5.0
"""How long an address may take to accept a connection, in seconds."""

_ADDRESS = re.compile(r"ray://(?P<host>\[[^\]]+\]|[^/:\s]+)(?::(?P<port>\d{1,5}))?/?")


@dataclass(frozen=True)
class ChunkOfCrops:
    """What a worker needs to embed a chunk.

    Attributes:
        crops: Crops of the chunk.
        fingerprint: Hash of everything that its rows depend on. The part carries it.
    """

    crops: Crops
    fingerprint: str


def check_cluster(cluster: str) -> None:
    """Check the name of a cluster.

    Raises:
        SettingError: it is neither ``auto`` nor an address such as ``ray://head:10001``.
    """
    if cluster != AUTO and _ADDRESS.fullmatch(cluster) is None:
        raise SettingError(f"cluster (--ray) is auto, or an address such as ray://head:10001; got {cluster!r}.")


def part_content(embedder: Embedder, chunk: ChunkOfCrops, *, batch_size: int | None, skip_unreadable: bool) -> bytes:
    """Embed a chunk, and return the Parquet file of its part."""
    import pyarrow.parquet as pq

    tables = embed_chunks(
        embedder,
        chunk.crops,
        [range(len(chunk.crops))],
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        advance=lambda _count: None,
    )
    table = next(tables)
    stream = io.BytesIO()
    pq.write_table(to_arrow(replace(table, provenance=replace(table.provenance, job=chunk.fingerprint))), stream)
    return stream.getvalue()


def embed_on_cluster(
    cluster: str,
    embedder: Embedder,
    chunks: Sequence[ChunkOfCrops],
    *,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
) -> Iterator[tuple[int, bytes]]:
    """Embed chunks on a Ray cluster, one worker for each core.

    A chunk whose worker is lost is embedded again by another one, as Ray Data starts workers anew for as long as they
    are lost. Each chunk is given once.

    Args:
        cluster: ``auto``, or the address of a cluster's server of clients, such as ``ray://head:10001``.
        embedder: What `load_embedder` gave. Every worker opens the same file of weights, under the same path.
        chunks: What to embed.
        batch_size: Crops a step of the network; by default the number that suits the runtime.
        skip_unreadable: Leave out crops that cannot be decoded.

    Yields:
        The position of a chunk and the content of its part, in the order in which they are finished.

    Raises:
        ClusterError: the cluster cannot be reached or started, or is lost.
        OmnireidError: what the embedding itself raises, in the worker.
        MissingDependencyError: Ray is not installed.
    """
    check_cluster(cluster)
    if embedder.opening is None:
        raise ModelError("Workers open the weights anew, so the embedder has to come from load_embedder.")
    threads = embedder.opening.options.threads or 1
    options = replace(embedder.opening.options, threads=threads)
    opened_by_workers = replace(embedder, opening=replace(embedder.opening, options=options))
    settings = {
        "embedder": pickle.dumps(opened_by_workers),
        "folder": os.getcwd(),  # noqa: PTH109 (relative paths of crops are relative to it)
        "batch_size": batch_size or embedder.batch_size or embedder.network.batch_size,
        "skip_unreadable": skip_unreadable,
    }
    with _connected(cluster) as ray, _cluster_errors(cluster):
        seen: set[int] = set()
        rows = _rows_from_afar if ray.util.client.ray.is_connected() else _rows
        for row in rows(ray, chunks, settings, threads):
            if row["error"]:
                raise (error_class(row["error"]) or ClusterError)(row["message"])
            if row["chunk"] not in seen:
                seen.add(row["chunk"])
                yield int(row["chunk"]), bytes(row["part"])


def _rows(
    ray: Any, chunks: Sequence[ChunkOfCrops], settings: Mapping[str, object], threads: int
) -> Iterator[dict[str, Any]]:
    """What the workers answer, one row a chunk."""
    from ray.data import ActorPoolStrategy, DataContext, from_items

    cores = int(ray.cluster_resources().get("CPU", 1))
    workers = max(1, min(len(chunks), cores // threads))
    context = DataContext.get_current()
    shown = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        items = [{"chunk": number, "content": pickle.dumps(chunk)} for number, chunk in enumerate(chunks)]
        embedded = from_items(items, override_num_blocks=len(items)).map_batches(
            ChunkWorker,
            batch_size=1,
            fn_constructor_kwargs=dict(settings),
            compute=ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=threads,
        )
        yield from embedded.iter_rows()
    finally:
        context.enable_progress_bars, context.print_on_execution_start = shown


def _rows_from_afar(
    ray: Any, chunks: Sequence[ChunkOfCrops], settings: Mapping[str, object], threads: int
) -> Iterator[dict[str, Any]]:
    """The same for a client at an address, where Ray Data cannot run: an actor of the cluster runs it for the client.

    An actor that is lost with its machine is started anew, with the chunks that are still to do.
    """
    left, losses = dict(enumerate(chunks)), 0
    while left:
        numbers = list(left)
        runner = ray.remote(num_cpus=0)(ChunkRunner).remote(list(left.values()), settings, threads)
        try:
            while left and (row := ray.get(runner.next_row.remote())) is not None:
                number, losses = numbers[row["chunk"]], 0
                left.pop(number, None)
                yield row | {"chunk": number}
        except ray.exceptions.RayActorError:
            losses += 1
            if losses > _LOSSES:
                raise
        else:
            if left:
                raise ClusterError(f"Ray ended with {len(left):,} chunks that it embedded nowhere.")
        finally:
            ray.kill(runner)


class ChunkRunner:
    """A process of the cluster that runs Ray Data for a client, and hands it one answer at a time."""

    def __init__(self, chunks: Sequence[ChunkOfCrops], settings: Mapping[str, object], threads: int) -> None:
        import ray

        self._rows = _rows(ray, chunks, settings, threads)

    def next_row(self) -> dict[str, Any] | None:
        """The next answer of a worker; None after the last."""
        return next(self._rows, None)


class ChunkWorker:
    """A process of the cluster that embeds chunks. It opens the weights at its first chunk.

    Errors of the embedding are answers, so that Ray does not take them for a lost worker and try again.
    """

    def __init__(self, embedder: bytes, folder: str, batch_size: int, skip_unreadable: bool) -> None:
        self._pickled = embedder
        self._embedder: Embedder | None = None
        self._batch_size = batch_size
        self._skip_unreadable = skip_unreadable
        if Path(folder).is_dir():
            os.chdir(folder)

    def __call__(self, batch: Mapping[str, npt.NDArray[Any]]) -> dict[str, list[object]]:
        """Embed the chunks of a batch, which has one."""
        answers = [self._answer(bytes(content)) for content in batch["content"]]
        return {
            "chunk": [int(number) for number in batch["chunk"]],
            "part": [part for part, _, _ in answers],
            "error": [error for _, error, _ in answers],
            "message": [message for _, _, message in answers],
        }

    def _answer(self, content: bytes) -> tuple[bytes, str, str]:
        try:
            if self._embedder is None:
                self._embedder = pickle.loads(self._pickled)
            part = part_content(
                self._embedder,
                pickle.loads(content),
                batch_size=self._batch_size,
                skip_unreadable=self._skip_unreadable,
            )
        except OmnireidError as error:
            return b"", type(error).__name__, str(error)
        return part, "", ""


@contextmanager
def _cluster_errors(cluster: str) -> Iterator[None]:
    try:
        yield
    except (OmnireidError, GeneratorExit):
        raise
    except Exception as error:
        raise ClusterError(
            f"The Ray cluster ({cluster}) did not finish: {first_line(error)}. Finished chunks are kept; see Ray's own "
            "logs, and run the same command again."
        ) from error


@contextmanager
def _connected(cluster: str) -> Iterator[Any]:
    """Ray, connected to a cluster while the body runs. A connection of the program itself is used and left open."""
    if cluster != AUTO:
        _check_reachable(cluster)
    require("ray.data", "ray", "Embedding on a cluster")
    import ray

    if ray.is_initialized():
        yield ray
        return
    try:
        _connect(ray, cluster)
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, cluster: str) -> None:
    """Join the cluster, or start one of this machine alone, without a dashboard and without telemetry."""
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if cluster != AUTO:
            _join_as_client(ray, cluster, quiet)
            return
        try:
            ray.init("auto", **quiet)
        except ConnectionError:
            with _without_telemetry():
                ray.init(
                    "local",
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _node_ip_address="127.0.0.1",
                    **quiet,
                )
    except Exception as error:
        where = "No Ray cluster could be started on this machine"
        advice = "A machine whose cores are all busy may be too slow for Ray to start."
        if cluster != AUTO:
            where = f"Cannot join {cluster}"
            advice = "A cluster that asks for a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too."
        raise ClusterError(
            f"{where}: {first_line(error).rstrip('.')}. The cluster needs the same versions of Ray and Python as this "
            f"machine. {advice} Without --ray, one process embeds."
        ) from error


def _join_as_client(ray: Any, address: str, quiet: Mapping[str, object]) -> None:
    """Join as a client. The process that the server starts for a client now and then dies at its birth (Ray 2.60)."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(ConnectionAbortedError):
            ray.init(address, **quiet)
            return
        ray.shutdown()
    ray.init(address, **quiet)


def _check_reachable(address: str) -> None:
    """Check that something answers there, because Ray itself tries for minutes.

    Raises:
        ClusterError: nothing does.
    """
    match = _ADDRESS.fullmatch(address)
    assert match is not None, "check_cluster has seen it"
    place = match["host"].strip("[]"), int(match["port"] or PORT)
    try:
        socket.create_connection(place, timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"Nothing answers at {address}: {first_line(error)}. Check the host and port of the cluster's server of "
            f"clients (usually {PORT}), and that the cluster runs: ray status"
        ) from error


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Start processes of Ray that report nothing to its makers."""
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before
