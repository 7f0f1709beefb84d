"""A process that measures one configuration and ends: ``python -m omnireid.bench.worker FOLDER``.

It reads ``request.json`` in the folder and leaves ``answer.json`` there. Heavy imports happen only when they are
needed, so that the measured start-up time is that of a program that embeds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnireid.errors import OmnireidError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omnireid.embedding.embedder import Embedder
    from omnireid.types import Dataset

REQUEST, ANSWER, EMBEDDINGS = "request.json", "answer.json", "embeddings.npy"


def main(folder: Path) -> None:
    """Do what the request in the folder says. An `OmnireidError` is an answer too."""
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    work: Callable[[dict[str, Any], Path], dict[str, Any]]
    work = {"start": _start, "embed": _embed, "measure": _measure}[request["what"]]
    try:
        answer = work(request, folder)
    except OmnireidError as error:
        answer = {"refused": str(error)}
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _open(request: dict[str, Any]) -> Embedder:
    from omnireid.embedding.embedder import load_embedder
    from omnireid.embedding.options import RuntimeOptions

    return load_embedder(request["weights"], RuntimeOptions(**request["options"]))


def _start(request: dict[str, Any], _folder: Path) -> dict[str, Any]:
    """Return the time of the first embedding, by the clock the parent process reads too."""
    import numpy as np

    embedder = _open(request)
    embedder.embed(np.zeros((1, *request["crop"], 3), dtype=np.uint8))
    return {"embedded_at": time.time()}


def _datasets(request: dict[str, Any]) -> list[Dataset]:
    """The published splits of the data set, or an empty list without one."""
    if request["data"] is None:
        return []
    from omnireid.data.datasets import load_splits
    from omnireid.data.options import DataOptions

    return load_splits(request["data"], DataOptions(**request["reading"]))


def _embed(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Save the embeddings of a reference."""
    _save_embeddings(_open(request), _datasets(request), folder)
    return {}


def _save_embeddings(embedder: Embedder, datasets: Sequence[Dataset], folder: Path) -> None:
    import numpy as np

    from omnireid.bench.measurement import embed_probes

    np.save(folder / EMBEDDINGS, embed_probes(embedder, datasets[0] if datasets else None))


def _measure(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Measure everything but the start-up time, which takes a process of its own."""
    from dataclasses import asdict

    from omnireid.bench.measurement import BATCHES, measure_speed, peak_memory

    before = peak_memory()
    embedder = _open(request)
    speeds = {str(batch): asdict(measure_speed(embedder, batch, request["seconds"])) for batch in BATCHES}
    after = peak_memory()
    datasets = _datasets(request)
    _save_embeddings(embedder, datasets, folder)
    answer = {
        "architecture": embedder.metadata.architecture,
        "device": embedder.network.device,
        "streams": embedder.network.streams,
        "speeds": speeds,
        "memory": None if before is None or after is None else after - before,
    }
    if datasets:
        from omnireid.evaluation.embedder_scores import evaluate_embedder

        scores = evaluate_embedder(embedder, datasets).scores
        answer |= {"rank1": scores.rank1, "mean_average_precision": scores.mean_average_precision}
    return answer


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except KeyboardInterrupt:  # the terminal interrupts the parent too, and the parent prints the message
        sys.exit(130)
