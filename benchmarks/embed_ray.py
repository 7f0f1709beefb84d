"""Claim: a Ray cluster gives the file of one process, byte for byte, and a killed worker loses no row and doubles none.

Drawn crops are embedded three times: by one process; by a cluster of two nodes on this machine, one core each; and by
the same cluster, where a worker is killed (SIGKILL) after a quarter of the parts. Printed are crops a second, with the
start of the workers, and rows lost and rows twice against the file of one process.

What it shows is what going through Ray costs, and that nothing is lost. Both nodes share this machine's cores with each
other, so the ratio can be about 1 at best: it is no measure of what several machines gain. The cluster's own start is
not counted. One process uses every core; give `taskset -c 0,1` on a larger machine to compare two cores with two.

Run: python benchmarks/embed_ray.py [CROPS]
(default 20,000, about 5 minutes on two cores; needs omnireid[ray])
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.embedding.ray_cluster import kill_one_process, two_nodes

from omnireid import synthesize
from omnireid.data.listing import list_crops
from omnireid.embedding import jobs
from omnireid.embedding.embedder import Embedder, load_embedder
from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.options import RuntimeOptions
from omnireid.embedding.tables import read_embeddings
from omnireid.files import atomic_output
from omnireid.machine import describe
from omnireid.types import Crops

CHUNK_SIZE = 64
DRAWN = 1024
"""Crops that are drawn; the list repeats them, because drawing takes longer than embedding."""


def embed(embedder: Embedder, crops: Crops, output: Path, cluster: str | None) -> float:
    """Embed the crops, print the rate, and return it in crops a second."""
    began = time.perf_counter()
    embed_to_parquet(embedder, crops, output, chunk_size=CHUNK_SIZE, cluster=cluster)
    rate = len(crops) / (time.perf_counter() - began)
    print(f"{output.stem:>28}: {rate:8,.1f} crops/s", flush=True)
    return rate


def kill_after(parts: int) -> list[int]:
    """From now on, kill a worker when so many parts have been written. The list gets the number of the process."""
    killed: list[int] = []
    written: list[Path] = []

    def write(path: Path) -> object:
        written.append(path)
        if len(written) == parts:
            killed.append(kill_one_process())
        return atomic_output(path)

    vars(jobs)["atomic_output"] = write
    return killed


def compare(expected: Path, output: Path) -> str:
    """Rows lost and rows twice, and whether the embeddings are the same bytes."""
    one, other = read_embeddings(expected), read_embeddings(output)
    wanted, found = (
        Counter[int](pq.read_table(file, columns=["number"])["number"].to_pylist()) for file in (expected, output)
    )
    lost, twice = (wanted - found).total(), (found - wanted).total()
    same = one.embeddings.tobytes() == other.embeddings.tobytes()
    return f"rows lost {lost}, rows twice {twice}, the same embeddings {same}"


def main(count: int) -> None:
    """Embed three times, and compare."""
    print(describe().text())
    with tempfile.TemporaryDirectory(prefix="omnireid-ray-") as folder:
        place = Path(folder)
        synthesize(place / "people", identities=64, cameras=4, per_camera=4)
        drawn = list_crops([str(place / "people")]).paths[:DRAWN]
        paths = tuple(drawn[number % len(drawn)] for number in range(count))
        crops = Crops(paths, columns={"number": list(range(count))})
        embedder = load_embedder(options=RuntimeOptions(runtime="onnxruntime", precision="fp32"))
        here = place / "one process.parquet"
        alone = embed(embedder, crops, here, None)
        with two_nodes():
            there = place / "two nodes.parquet"
            together = embed(embedder, crops, there, "auto")
            print(f"{'ratio':>28}: {together / alone:8.2f}; {compare(here, there)}")
            after = place / "two nodes, a worker killed.parquet"
            killed = kill_after(max(1, count // CHUNK_SIZE // 4))
            embed(embedder, crops, after, "auto")
            print(f"{'process killed':>28}: {killed or 'none'}; {compare(here, after)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
