"""A process that measures one way and ends: ``python -m omnireid.bench.worker FOLDER``.

It finds ``request.json`` in the folder and leaves ``answer.json`` there. Nothing heavy is imported before it is
needed, so that the time of a start is that of a program that embeds.
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
    """Do what the folder's request says; an error of ours is an answer too."""
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
    """When the first embedding was there, by the clock that the parent reads too."""
    import numpy as np

    embedder = _open(request)
    embedder.embed(np.zeros((1, *request["crop"], 3), dtype=np.uint8))
    return {"embedded_at": time.time()}


def _datasets(request: dict[str, Any]) -> list[Dataset]:
    """The data set in all its published splits; none without one."""
    if request["data"] is None:
        return []
    from omnireid.data.datasets import load_splits
    from omnireid.data.options import DataOptions

    return load_splits(request["data"], DataOptions(**request["data_options"]))


def _embed(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Leave the embeddings of a reference."""
    _leave_embeddings(_open(request), _datasets(request), folder)
    return {}


def _leave_embeddings(embedder: Embedder, datasets: Sequence[Dataset], folder: Path) -> None:
    import numpy as np

    from omnireid.bench.measurement import embed_probes

    np.save(folder / EMBEDDINGS, embed_probes(embedder, datasets[0] if datasets else None))


def _measure(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Everything but the start, which needs a process that has not begun."""
    from dataclasses import asdict

    from omnireid.bench.measurement import BATCHES, measure_speed, peak_memory

    before = peak_memory()
    embedder = _open(request)
    speeds = {str(batch): asdict(measure_speed(embedder, batch, request["seconds"])) for batch in BATCHES}
    after = peak_memory()
    datasets = _datasets(request)
    _leave_embeddings(embedder, datasets, folder)
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
    except KeyboardInterrupt:  # a terminal sends it to the parent too, which says what there is to say
        sys.exit(130)
