"""Claim: OSNet is faster than the networks it was compared with, in every runtime, and not only in multiply-adds.

Each network is measured in float32 at 256×128 by ONNX Runtime and OpenVINO, with all cores and the batch that omnireid
takes, from uint8 pixels; OpenVINO also in bfloat16 where the processor has it. Two ratios are printed: to the
network's own baseline, which is eager PyTorch on normalised batches of 32, and to osnet_x1_0 in the same runtime. The
networks take turns in every round, so that a busy moment does not fall on one of them alone, and figures are medians
over the rounds. GFLOP/s count two operations per multiply-add: where they differ, so does the time of a multiply-add.

The weights are random, because speed does not depend on their values. --tiny measures one round.

Run: python benchmarks/networks.py FOLDER [NETWORK …]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from embedding import BATCH, PAUSE, SIZE, baseline_of, rate_of
from omnireid.embedding.choice import measure_rate
from omnireid.embedding.network import Network
from omnireid.embedding.options import Precision, RuntimeName
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import OmnireidError
from omnireid.experiments.crop_times import draw_tensors
from omnireid.images.probes import probe_crops
from omnireid.machine import describe, has_bfloat16, usable_cores
from omnireid.models.zoo import find_architecture
from omnireid.weights.artefact import WeightsMetadata, write_artefact

REFERENCE = "osnet_x1_0"
NETWORKS = (
    *(REFERENCE, "osnet_x0_5", "osnet_x0_25"),
    *("resnet50_fc512", "resnet50", "mobilenetv2_x1_0", "mobilenetv2_x1_4", "shufflenet_g3"),
)
ROUNDS = 3


def write_random(name: str, path: Path) -> None:
    architecture = find_architecture(name)
    metadata = WeightsMetadata(name, architecture.embedding_width, SIZE, training_data="none", licence="Apache-2.0")
    write_artefact(path, draw_tensors(architecture), metadata)


def ways() -> list[tuple[RuntimeName, Precision]]:
    found: list[tuple[RuntimeName, Precision]] = [("onnxruntime", "fp32"), ("openvino", "fp32")]
    return [*found, ("openvino", "bf16")] if has_bfloat16() else found


def open_all(name: str, path: Path) -> dict[str, Network]:
    """The network in every runtime, by the way's name; what cannot run is printed with the reason."""
    networks = {}
    for runtime, precision in ways():
        try:
            (candidate,) = WeightsFile(path).candidates(runtime, precision, device="cpu", threads=None)
            networks[f"{runtime} {precision}"] = candidate.open()
        except OmnireidError as error:
            print(f"{name}, {runtime} {precision}: not measured: {error}")
    return networks


def measure(names: list[str], folder: Path, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Crops per second of each network in each way, one value a round."""
    pixels = probe_crops(BATCH, SIZE.height, SIZE.width)
    images = torch.from_numpy(SIZE.normalise(pixels)).contiguous()
    baselines: dict[str, Callable[[torch.Tensor], object]] = {}
    networks: dict[str, dict[str, Network]] = {}
    for name in names:
        path = folder / f"{name}.random.safetensors"
        if not path.is_file():
            write_random(name, path)
        baselines[name], networks[name] = baseline_of(path), open_all(name, path)
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name in names:
            run = baselines[name]
            rates.setdefault((name, "torch eager"), []).append(rate_of(lambda run=run: run(images), BATCH))  # type: ignore[misc]
            for way, network in networks[name].items():
                rates.setdefault((name, way), []).append(measure_rate(network, pixels))
                time.sleep(PAUSE)
        print(f"round {number + 1} of {rounds} done", flush=True)
    return rates


def print_table(names: list[str], rates: dict[tuple[str, str], list[float]]) -> None:
    medians = {key: statistics.median(values) for key, values in rates.items()}
    reference = names[0]
    head = f"{'crops/s':>9}{'× torch':>9}{f'× {reference}':>14}{'GFLOP/s':>9}"
    print(f"\n{'network':<18}{'multiply-adds':>14}  {'way':<18}{head}")
    for (name, way), rate in medians.items():
        cost = find_architecture(name).multiply_adds
        other = medians.get((reference, way))
        print(
            f"{name:<18}{cost / 1e6:>12.1f} M  {way:<18}{rate:>9.1f}{rate / medians[name, 'torch eager']:>9.2f}"
            f"{'–' if other is None else f'{rate / other:.2f}':>14}{2 * cost * rate / 1e9:>9.0f}"
        )
    spread = max((max(values) - min(values)) / statistics.median(values) for values in rates.values())
    print(f"largest spread between rounds: {spread:.0%}")


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if not words:
        raise SystemExit(__doc__)
    folder, names = Path(words[0]), words[1:] or list(NETWORKS)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(usable_cores())
    print_table(names, measure(names, folder, 1 if "--tiny" in sys.argv else ROUNDS))
    print(describe().text())


if __name__ == "__main__":
    main()
