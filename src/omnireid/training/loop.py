"""The training loop: steps, checkpoints and evaluations.

Recipe, data, seed and the number of ranks alone decide what a run computes. All
random numbers are functions of seed, epoch and crop, so an interrupted run that is
resumed ends in the same weights as one that was never interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnireid.data.training_data import TrainingData
from omnireid.embedding.torch_runtime import is_out_of_memory
from omnireid.errors import DeviceMemoryError, NonFiniteLossError, StoppedError
from omnireid.files import atomic_output
from omnireid.images.pixel_cache import open_pixel_cache
from omnireid.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.models.zoo import create_model
from omnireid.progress import Advance, progress_bar
from omnireid.training.assessment import Validation, assess, name_scores, summarise
from omnireid.training.augmentation_plan import apply_plan
from omnireid.training.classification import PictureValidation, assess_classes
from omnireid.training.curves import SCORES
from omnireid.training.distributed import Ranks, barrier, copy_from_first_rank, mean_over_ranks
from omnireid.training.feeding import Pixels, TrainingBatch, count_repeats, feed
from omnireid.training.journal import Journal, Kind
from omnireid.training.learner import LOSS_NAMES, Learner, logged_losses
from omnireid.training.options import RunOptions, RunResult, Scores
from omnireid.training.recipes import METRICS, Recipe
from omnireid.training.run_checkpoint import Progress, RunIdentity, write_checkpoint
from omnireid.training.samplers import IdentitySampler, RandomSampler, shard
from omnireid.training.signals import Stop
from omnireid.training.timetable import Resolution
from omnireid.types import ByteArray, FloatArray
from omnireid.weights.artefact import WeightsMetadata, write_artefact

CHECKPOINT_NAME = "checkpoint.safetensors"
LAST_NAME = "last.safetensors"
BEST_NAME = "best.safetensors"
BAD_BATCH_STEM = "nonfinite-batch"


@dataclass
class Loop:
    """A run in progress; `run` takes it to its end."""

    recipe: Recipe
    options: RunOptions
    ranks: Ranks
    device: torch.device
    data: TrainingData
    validations: tuple[Validation | PictureValidation, ...]
    sampler: RandomSampler | IdentitySampler
    learner: Learner
    identity: RunIdentity
    progress: Progress
    journal: Journal | None
    targets: FloatArray | None = None  # (N, 2, E), the teacher's embeddings of crops and mirror images
    attributes: FloatArray | None = None  # (N, 2, K), see AttributeTargets
    start: WeightsMetadata | None = None  # what is known of the weights the run began from
    teacher: WeightsMetadata | None = None  # what is known of the weights that teach

    def __post_init__(self) -> None:
        self._started = time.perf_counter() - self.progress.seconds
        self._unlogged_batches: list[TrainingBatch] = []  # trained on, but their losses are still on the device
        self._unlogged_losses = torch.zeros(self.options.log_every, len(LOSS_NAMES), device=self.device)
        self._last_logged = time.perf_counter()
        self._saved_step = self.progress.step
        self._evaluations: dict[str, Scores] = {}
        self._scored_step = -1
        self._scored_network: Backbone | None = None

    @property
    def seconds(self) -> float:
        """Time the run has taken so far, in all its sessions."""
        return time.perf_counter() - self._started

    def run(self, stop: Stop) -> RunResult:
        """Train from where the run stands to its end."""
        recipe, steps = self.recipe, len(self.sampler)
        show = self.options.progress and self.ranks.rank == 0
        pixels: tuple[Resolution, Pixels] | None = None
        first = self.progress.step // steps
        with progress_bar("train", recipe.epochs * steps * recipe.batch_size, show=show) as advance:
            advance(self.progress.step * recipe.batch_size)
            for epoch in range(first, recipe.epochs):
                resolution = recipe.timetable.resolution_at(epoch)
                if pixels is None or pixels[0] != resolution:
                    pixels = (resolution, Pixels(self._open_pixels(self.data.paths, resolution), self.device))
                if epoch == first:
                    self._decode_for_next_evaluation(epoch)
                self._train_epoch(epoch, pixels[1], stop, advance)
                self._end_epoch(epoch, resolution)
                if show:
                    print(self._summary(epoch, resolution), flush=True)
                if epoch + 1 < recipe.epochs:
                    self._stop_if_asked(stop)
        if not self._evaluations:  # the run was finished before it was resumed
            self._evaluate(recipe.timetable.resolutions[-1])
        barrier(self.ranks)
        return RunResult(self.options.output / LAST_NAME, self._evaluations, self.seconds)

    def _train_epoch(self, epoch: int, pixels: Pixels, stop: Stop, advance: Advance) -> None:
        order = self.sampler.batches(epoch)
        repeats = count_repeats(order)
        done = self.progress.step - epoch * len(self.sampler)
        batches = feed(
            pixels,
            self.data.identities,
            self.recipe.augmentation,
            shard(order, self.ranks.rank, self.ranks.world_size)[done:],
            shard(repeats, self.ranks.rank, self.ranks.world_size)[done:],
            seed=self.recipe.seed,
            epoch=epoch,
            images_seen=self.progress.step * self.recipe.batch_size,
            images_a_step=self.recipe.batch_size,
            device=self.device,
            targets=self.targets,
            attributes=self.attributes,
        )
        self.learner.begin_epoch(epoch)
        self._last_logged = time.perf_counter()  # earlier work, such as decoding, does not count in images per second
        with closing(batches), _memory_errors(self.recipe, self.ranks, pixels):
            for batch in batches:
                self._unlogged_losses[len(self._unlogged_batches)] = self.learner.step(batch, self.progress.step)
                self._unlogged_batches.append(batch)
                self.progress = replace(self.progress, step=self.progress.step + 1)
                advance(self.recipe.batch_size)
                if self.progress.step % self.options.log_every == 0:
                    loss = self._log_losses()
                    advance(0, f"epoch {epoch + 1}/{self.recipe.epochs}, loss {loss:.3f}")
                if self.progress.step % len(self.sampler) == 0:
                    break  # the epoch's evaluation must be in the log before its checkpoint is written
                if self.progress.step % self.options.checkpoint_every == 0:
                    self._save()
                if self.ranks.world_size == 1 or self.progress.step % self.options.log_every == 0:
                    self._stop_if_asked(stop)

    def _end_epoch(self, epoch: int, resolution: Resolution) -> None:
        """Evaluate if an evaluation is due, and write weights and checkpoint."""
        self._log_losses()
        metrics = self._evaluate(resolution) if self._is_evaluated(epoch) else {}
        if self.journal is not None and metrics:
            self._write("evaluation", self.progress.step, **metrics)
        if self.ranks.rank == 0:
            self._write_artefacts(resolution, metrics)
        self._save()

    def _log_losses(self) -> float:
        """Copy pending losses to the host, check and log them, and return their mean."""
        count = len(self._unlogged_batches)
        if not count:
            return float("nan")
        own = self._unlogged_losses[:count].cpu()
        losses = mean_over_ranks(self._unlogged_losses[:count].clone(), self.ranks).cpu()
        finite = torch.isfinite(losses).all(dim=1)
        if not finite.all():
            self._stop_at_nonfinite(int(torch.argmin(finite.int())), own)
        now = time.perf_counter()
        rate = count * self.recipe.batch_size / max(now - self._last_logged, 1e-9)
        self._last_logged = now
        self._unlogged_batches.clear()
        if self.journal is not None:
            logged = logged_losses(self.recipe)
            for position, row in enumerate(losses.tolist()):
                step = self.progress.step - count + position + 1
                values = {name: value for name, value in zip(LOSS_NAMES, row, strict=True) if name in logged}
                rates = {"learning_rate": self.learner.rate_at(step - 1), "images_per_second": rate}
                self._write("step", step, **values, **rates)
        return float(losses[:, 0].mean())

    def _stop_at_nonfinite(self, position: int, own: Tensor) -> None:
        """Keep the batch and raise. The checkpoint on the disk is older than the batch.

        Args:
            position: Index into the batches that are not logged yet.
            own: (n, losses) of this rank, in the order of `LOSS_NAMES`.
        """
        step = self.progress.step - len(self._unlogged_batches) + position
        kept = "another rank kept it"
        if not torch.isfinite(own[position]).all():
            from safetensors.torch import save

            batch = self._unlogged_batches[position]
            images = apply_plan(batch.images, batch.plan, batch.patch_images, mean=IMAGENET_MEAN, std=IMAGENET_STD)
            path = self.options.output / f"{BAD_BATCH_STEM}-rank{self.ranks.rank}.safetensors"
            tensors = {
                "images": images.cpu().contiguous(),
                "identities": batch.identities.cpu(),
                "crops": torch.from_numpy(batch.indices),
            }
            with atomic_output(path) as temporary:
                temporary.write_bytes(save(tensors, metadata={"step": str(step)}))
            kept = f"it is kept in {path}"
        if self.journal is not None:
            self._write("event", step + 1, event="the loss is not finite")
        raise NonFiniteLossError(
            f"The loss is not finite at step {step} (epoch {step / len(self.sampler):.2f}). The batch that caused it: "
            f"{kept}. The last good checkpoint is unchanged. Try a lower --learning-rate, --clip-norm 5, or "
            "--precision fp32, and start from the last good weights with --weights."
        )

    def _stop_if_asked(self, stop: Stop) -> None:
        asked = stop.name is not None
        if self.ranks.world_size > 1:
            asked = bool(mean_over_ranks(torch.tensor(float(asked), device=self.device), self.ranks) > 0)
        if asked:
            if self._saved_step != self.progress.step:
                self._save()
            raise StoppedError(
                f"Stopped by {stop.name or 'another rank'} after step {self.progress.step} (epoch "
                f"{self.progress.step / len(self.sampler):.2f} of {self.recipe.epochs}); everything is saved in "
                f"{self.options.output}. Resume it with the same command and --resume."
            )

    def _save(self) -> None:
        """Write the checkpoint, once everything up to this step is in the log."""
        self._log_losses()
        self._saved_step = self.progress.step
        if self.ranks.rank == 0:
            self.progress = replace(self.progress, seconds=self.seconds)
            write_checkpoint(
                self.options.output / CHECKPOINT_NAME, self.learner.state_dict(), self.progress, self.identity
            )

    def _is_evaluated(self, epoch: int) -> bool:
        """Whether an evaluation is due at the end of this epoch, counted from 0."""
        every = self.recipe.evaluate_every
        return epoch + 1 == self.recipe.epochs or bool(every and (epoch + 1) % every == 0)

    def _decode_for_next_evaluation(self, epoch: int) -> None:
        """Decode what the next evaluation reads: an unreadable crop is reported now, and not after hours of training.

        Args:
            epoch: Epoch, counted from 0, that the run begins or goes on with.
        """
        due = next((later for later in range(epoch, self.recipe.epochs) if self._is_evaluated(later)), None)
        if due is not None:
            resolution = self.recipe.timetable.resolution_at(due)
            for validation in self.validations:
                self._open_pixels(validation.paths, resolution)

    def _evaluate(self, resolution: Resolution) -> dict[str, float]:
        """Score the weights and return the task's scores by name; empty if the run has nothing to score on."""
        if not self.validations:
            return {}
        if self._scored_network is None:
            network = create_model(self.recipe.model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._scored_network = network
        # Batch norms that are not synchronised differ from rank to rank; rank 0's are those that are written.
        weights = copy_from_first_rank(self.learner.averaged_state(), self.ranks)
        self._evaluations = {
            validation.name: self._assess(self._scored_network, weights, validation, resolution)
            for validation in self.validations
        }
        self._scored_step = self.progress.step
        return summarise(self._evaluations, METRICS[self.recipe.task])

    def _assess(
        self,
        network: Backbone,
        weights: Mapping[str, Tensor],
        validation: Validation | PictureValidation,
        resolution: Resolution,
    ) -> Scores:
        pixels = self._open_pixels(validation.paths, resolution)
        if isinstance(validation, PictureValidation):
            head = self.learner.averaged_head()
            return assess_classes(network, head, weights, validation, pixels, device=self.device, ranks=self.ranks)
        distance = self.recipe.distance
        return assess(network, weights, validation, pixels, distance, device=self.device, ranks=self.ranks)

    def _write_artefacts(self, resolution: Resolution, metrics: Mapping[str, float]) -> None:
        """Write the weights as ``last`` and, if they score higher than all earlier ones, as ``best``."""
        tensors = {
            name: (value.float() if value.is_floating_point() else value).detach().cpu().numpy()
            for name, value in self.learner.averaged_state().items()
        }
        epoch = self.progress.step / len(self.sampler)
        training_data, licence = " + ".join(self.data.titles or self.data.names), self.data.licence
        if self.start is not None:
            training_data += f", from weights trained on {self.start.training_data}"
        if self.teacher is not None:
            training_data += f", taught by {self.teacher.architecture} (trained on {self.teacher.training_data})"
        others = (one.licence for one in (self.start, self.teacher) if one is not None)
        licence = "; ".join(dict.fromkeys((licence, *others)))
        metadata = WeightsMetadata(
            self.recipe.model,
            embedding_dimension=self.learner.network.embedding_width,
            preprocessing=Preprocessing(height=resolution.height, width=resolution.width),
            distance=self.recipe.distance,
            training_data=training_data,
            licence=licence,
            metrics=name_scores(self._evaluations, METRICS[self.recipe.task]) if metrics else {},
            origin=f"omnireid train, {epoch:g} epochs",
        )
        write_artefact(self.options.output / LAST_NAME, tensors, metadata)
        score = metrics.get(self.recipe.metric)
        if score is not None and (self.progress.best is None or score > self.progress.best):
            self.progress = replace(self.progress, best=score, best_epoch=epoch)
            write_artefact(self.options.output / BEST_NAME, tensors, metadata)

    def _open_pixels(self, paths: tuple[Path, ...], resolution: Resolution) -> ByteArray:
        """Open the decoded crops; rank 0 decodes them where they are missing, while the other ranks wait."""
        if self.ranks.rank != 0:
            barrier(self.ranks)
        cached = open_pixel_cache(
            paths,
            height=resolution.height,
            width=resolution.width,
            folder=self.options.pixel_cache_folder,
            progress=self.options.progress and self.ranks.rank == 0,
        )
        if self.ranks.rank == 0:
            barrier(self.ranks)
        return np.asarray(cached.pixels)

    def _write(self, kind: Kind, step: int, **values: Any) -> None:
        assert self.journal is not None
        self.journal.write(
            kind,
            step=step,
            epoch=step / len(self.sampler),
            seconds=self.seconds,
            images=step * self.recipe.batch_size,
            **values,
        )

    def _summary(self, epoch: int, resolution: Resolution) -> str:
        line = f"epoch {epoch + 1}/{self.recipe.epochs} at {resolution.height}×{resolution.width}, {self.seconds:.0f} s"
        if self._scored_step == self.progress.step and self._evaluations:
            metrics = METRICS[self.recipe.task]
            means = summarise(self._evaluations, metrics)
            line += ": " + ", ".join(f"{SCORES[name]} {means[name]:.4f}" for name in metrics)
            line += f" (mean of {', '.join(self._evaluations)})" if len(self._evaluations) > 1 else ""
        return line


@contextmanager
def _memory_errors(recipe: Recipe, ranks: Ranks, pixels: Pixels) -> Iterator[None]:
    """Turn torch's out-of-memory error into one that says what to try."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        _, height, width = pixels.shape
        share = recipe.batch_size // ranks.world_size // recipe.accumulate
        raise DeviceMemoryError(
            f"Not enough memory for {share} crops of {height}×{width} at once (--batch-size {recipe.batch_size}, "
            f"{ranks.world_size} ranks, --accumulate {recipe.accumulate}). Try --accumulate {2 * recipe.accumulate}, a "
            "smaller --batch-size, or --precision bf16. The last checkpoint is complete: --resume needs its recipe."
        ) from error
