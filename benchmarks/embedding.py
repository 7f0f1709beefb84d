"""Claim: at batch 32 the network alone beats eager PyTorch: osnet_x1_0 10 times, in float32 5 times; x0_25 5 times.

The baseline alternates with ours in the same run. It is the same network in eager
PyTorch, in float32 and NCHW, on normalised batches of 32 and all cores. Ours starts
from uint8 pixels and includes normalisation. Three rates are measured, as medians
over the rounds: batches of 32 one after the other on all threads (`Network.run`),
one batch of 32 per stream on every core, and streams of the batch size that
omnireid takes by default. GFLOP/s count two operations per multiply-add, and are
compared with the fastest matrix product of the same run (2048³, all cores: torch
and NumPy in float32, torch in bfloat16). Parity compares the embeddings of 64 drawn
crops with the baseline.

osnet_x0_25 uses the public weights if they are in ../shared, else those in the
package. There are no trained weights of osnet_x1_0 here, so it has random ones,
with running statistics from drawn crops; speed does not depend on that, parity
does. int8 graphs are made by `omnireid export`, calibrated with Market-1501 if it
is in ../shared, else with drawn crops. This takes minutes, so --prepare makes what
is missing in FOLDER and stops.

Run: python benchmarks/embedding.py FOLDER --prepare && python benchmarks/embedding.py FOLDER [osnet_x0_25 | osnet_x1_0]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from omnireid.embedding.choice import measure_rate
from omnireid.embedding.network import Network
from omnireid.embedding.options import Precision, RuntimeName
from omnireid.embedding.parity import GATES, compare_embeddings
from omnireid.embedding.torch_runtime import load_weights
from omnireid.embedding.weights_file import WeightsFile
from omnireid.errors import OmnireidError
from omnireid.export.exporting import export_weights
from omnireid.export.options import ExportOptions
from omnireid.images.batches import iterate_batches
from omnireid.images.decode import RgbArray
from omnireid.images.preprocess import Preprocessing
from omnireid.images.probes import probe_crops
from omnireid.machine import describe, usable_cores
from omnireid.models.zoo import ARCHITECTURES, create_model
from omnireid.types import FloatArray
from omnireid.weights.artefact import WeightsMetadata, write_artefact
from omnireid.weights.fetch import resolve_weights
from omnireid.weights.shipped import DEFAULT_WEIGHTS

SHARED = Path(__file__).resolve().parents[2] / "shared"
PUBLIC = SHARED / "weights/osnet_x0_25_market1501.pth"
TRAINING_CROPS = SHARED / "data/Market-1501-v15.09.15/bounding_box_train"
SIZE = Preprocessing(256, 128)
BATCH, ROUNDS, CALLS, PROBES, CALIBRATION = 32, 3, 3, 64, 256
PRODUCT = 2048
PAUSE = 0.1  # idle threads of a runtime spin for a while, and would take the next one's core
TARGETS = {"osnet_x1_0": (10.0, 5.0), "osnet_x0_25": (5.0, None)}
WAYS: tuple[tuple[RuntimeName, Precision], ...] = (
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("onnxruntime", "int8"),
    ("openvino", "int8"),
)


@dataclass
class Rates:
    """Crops a second of one way, a value a round."""

    run: list[float] = field(default_factory=list)
    streams: list[float] = field(default_factory=list)
    own_streams: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """At batch 32."""
        return max(statistics.median(self.run), statistics.median(self.streams))


def weights_of(name: str, folder: Path) -> Path:
    """The file of a network's weights."""
    if name == "osnet_x0_25":
        return PUBLIC if PUBLIC.is_file() else resolve_weights(DEFAULT_WEIGHTS)
    return folder / f"{name}.untrained.safetensors"


def int8_of(name: str, folder: Path) -> Path:
    return folder / f"{weights_of(name, folder).stem}.int8.onnx"


@torch.no_grad()
def make_untrained(name: str, path: Path) -> None:
    """Random weights, with running statistics of drawn crops."""
    torch.manual_seed(0)
    model = create_model(name).train()
    for seed in range(8):
        model(torch.from_numpy(SIZE.normalise(probe_crops(16, SIZE.height, SIZE.width, seed=seed))))
    tensors = {key: tensor.numpy() for key, tensor in model.eval().state_dict().items()}
    metadata = WeightsMetadata(name, model.embedding_width, SIZE, training_data="none", licence="Apache-2.0")
    write_artefact(path, tensors, metadata)


def calibration_crops() -> RgbArray:
    paths = sorted(TRAINING_CROPS.glob("*.jpg"))
    if not paths:
        return probe_crops(CALIBRATION, SIZE.height, SIZE.width, seed=1)
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, CALIBRATION).astype(int)]
    return np.concatenate([batch.pixels for batch in iterate_batches(chosen, SIZE, batch_size=BATCH)])


def prepare(folder: Path) -> None:
    """Make what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TARGETS:
        weights, graph = weights_of(name, folder), int8_of(name, folder)
        if not weights.is_file():
            make_untrained(name, weights)
        if not graph.is_file():
            try:
                exported = export_weights(weights, ExportOptions(precision="int8"), calibration=calibration_crops())
            except OmnireidError as error:
                print(f"{name}: no int8: {error}")
                continue
            exported.write(graph)
            kept = exported.graph.metadata.kept_in_float
            print(f"{name}: int8, kept in float32: {', '.join(kept) or 'nothing'}")


def open_ways(name: str, folder: Path) -> dict[str, Network]:
    """What can be run, by its name; the rest is printed with the reason."""
    networks = {}
    for runtime, precision in WAYS:
        path = int8_of(name, folder) if precision == "int8" else weights_of(name, folder)
        label = f"{runtime} {precision}"
        try:
            (candidate,) = WeightsFile(path).candidates(runtime, precision, device="cpu", threads=None)
            networks[label] = candidate.open()
        except OmnireidError as error:
            print(f"{name} {label}: not measured: {error}")
    return networks


def baseline_of(path: Path) -> Callable[[torch.Tensor], FloatArray]:
    model, _ = load_weights(path)

    @torch.inference_mode()
    def run(images: torch.Tensor) -> FloatArray:
        return np.asarray(model(images).numpy())

    return run


def rate_of(call: Callable[[], object], count: int) -> float:
    """Things a second: the median of a few calls, after one that warms up."""
    call()
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    time.sleep(PAUSE)
    return count / statistics.median(seconds)


def product_rates() -> dict[str, float]:
    """GFLOP/s of products of matrices, by precision: the best of those tried."""
    one = torch.rand(PRODUCT, PRODUCT)
    half, array = one.bfloat16(), one.numpy()
    billions = 2 * PRODUCT**3 / 1e9
    return {
        "fp32": billions * max(rate_of(lambda: torch.mm(one, one), 1), rate_of(lambda: array @ array, 1)),
        "bf16": billions * rate_of(lambda: torch.mm(half, half), 1),
    }


def measure(name: str, folder: Path, rounds: int) -> None:
    """Print one network's table."""
    pixels = probe_crops(PROBES, SIZE.height, SIZE.width)
    images = torch.from_numpy(SIZE.normalise(pixels)).contiguous()
    baseline, networks = baseline_of(weights_of(name, folder)), open_ways(name, folder)
    reference = baseline(images)
    batch, batch_images = pixels[:BATCH], images[:BATCH]
    before: list[float] = []
    rates = {label: Rates() for label in networks}
    peaks: list[dict[str, float]] = []
    for _ in range(rounds):
        before.append(rate_of(lambda: baseline(batch_images), BATCH))
        for label, network in networks.items():
            run = network.run
            rates[label].run.append(rate_of(lambda run=run: run(batch), BATCH))  # type: ignore[misc]
            rates[label].streams.append(measure_rate(replace(network, batch_size=BATCH), batch))
            rates[label].own_streams.append(measure_rate(network, batch))
            time.sleep(PAUSE)
        peaks.append(product_rates())
        line = ", ".join(f"{label} {max(one.run[-1], one.streams[-1]):.1f}" for label, one in rates.items())
        print(f"round {len(before)}: torch {before[-1]:.1f}, {line} crops/s", flush=True)
    peak = {precision: max(found[precision] for found in peaks) for precision in peaks[0]}
    print_table(name, networks, rates, statistics.median(before), peak, reference, pixels)
    print(f"products of matrices: {peak['fp32']:.0f} GFLOP/s in float32, {peak['bf16']:.0f} in bfloat16\n")


def print_table(
    name: str,
    networks: dict[str, Network],
    rates: dict[str, Rates],
    before: float,
    peak: dict[str, float],
    reference: FloatArray,
    pixels: RgbArray,
) -> None:
    billions = 2 * ARCHITECTURES[name].multiply_adds / 1e9
    print(f"{name}, batch {BATCH}, crops/s; ratio of the better of the two at batch {BATCH}")
    print(
        f"{'way':<20}{'one':>8}{'streams':>9}{'own batch':>11}{'ratio':>7}{'GFLOP/s':>9}{'share':>7}"
        f"{'min cosine':>12}{'mean':>9}  gate"
    )
    share = f"{before * billions / peak['fp32']:.0%}"
    print(f"{'torch eager fp32':<20}{before:>8.1f}{'':>9}{'':>11}{1:>7.2f}{before * billions:>9.0f}{share:>7}")
    passing: dict[str, float] = {}
    for label, network in networks.items():
        found = np.concatenate([network.run(pixels[start : start + BATCH]) for start in range(0, PROBES, BATCH)])
        parity, one = compare_embeddings(reference, found), rates[label]
        passes = GATES[network.precision].passes(parity)
        if passes:
            passing[label] = one.best / before
        flops = one.best * billions
        share = f"{flops / peak[network.precision]:.0%}" if network.precision in peak else "–"
        print(
            f"{label:<20}{statistics.median(one.run):>8.1f}{statistics.median(one.streams):>9.1f}"
            f"{statistics.median(one.own_streams):>11.1f}{one.best / before:>7.2f}{flops:>9.0f}{share:>7}"
            f"{parity.smallest:>12.5f}{parity.mean:>9.5f}  {'passes' if passes else 'FAILS'}"
        )
    any_target, float_target = TARGETS[name]
    _verdict("best that passes the gate", passing, any_target)
    if float_target is not None:
        _verdict("best in float32", {key: ratio for key, ratio in passing.items() if "fp32" in key}, float_target)


def _verdict(what: str, ratios: dict[str, float], target: float) -> None:
    label = max(ratios, key=lambda key: ratios[key])
    met = "met" if ratios[label] >= target else "MISSED"
    print(f"{what}: {label}, {ratios[label]:.2f} times the baseline; target {target:g}: {met}")


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if not words:
        raise SystemExit(__doc__)
    folder, chosen = Path(words[0]), words[1:] or list(TARGETS)
    torch.set_num_threads(usable_cores())
    if "--prepare" in sys.argv:
        prepare(folder)
        return
    for name in chosen:
        if not weights_of(name, folder).is_file():
            raise SystemExit(f"{folder} has no weights of {name}. First run this with --prepare.")
        measure(name, folder, 1 if "--tiny" in sys.argv else ROUNDS)
    print(describe().text())


if __name__ == "__main__":
    main()
