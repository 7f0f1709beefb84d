from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from omnireid import create_model
from omnireid.images.preprocess import Preprocessing
from omnireid.models.backbone import Backbone
from omnireid.training.augmentation import Augmentation
from omnireid.training.augmentation_plan import apply_plan, plan_augmentation
from omnireid.training.distributed import Ranks
from omnireid.training.feeding import TrainingBatch
from omnireid.training.learner import Learner
from omnireid.training.losses import batch_hard_triplet, cross_entropy
from omnireid.training.named_recipes import FINETUNE
from omnireid.training.recipes import Recipe
from omnireid.training.run_checkpoint import Progress, RunIdentity, read_checkpoint, write_checkpoint

CPU = torch.device("cpu")
PLAIN = Recipe(
    model="osnet_x0_25", epochs=4, resolutions=("32x16@0",), batch_size=8, learning_rate=0.01, schedule="constant"
)


@cache
def first_network() -> Backbone:
    return create_model("osnet_x0_25")


def learner_of(recipe: Recipe, *, steps_an_epoch: int = 2) -> Learner:
    return Learner(
        recipe,
        copy.deepcopy(first_network()),
        4,
        steps_an_epoch=steps_an_epoch,
        device=CPU,
        ranks=Ranks(),
    )


def batch_of(number: int = 0, *, size: int = 8) -> TrainingBatch:
    """Noise of four people; each crop may be flipped."""
    pixels = np.random.default_rng(number).integers(0, 256, (size, 32, 16, 3), dtype=np.uint8)
    indices = np.arange(size, dtype=np.int64)
    plan = plan_augmentation(
        Augmentation(),
        seed=0,
        epoch=number,
        indices=indices,
        repeats=np.zeros_like(indices),
        height=32,
        width=16,
        crop_count=size,
        images_seen=0,
    )
    patches = torch.empty(0, 32, 16, 3, dtype=torch.uint8)
    return TrainingBatch(indices, torch.from_numpy(pixels), torch.from_numpy(indices // 2 % 4), plan, patches)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: Mapping[str, Tensor]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def parts(learner: Learner) -> dict[str, Tensor]:
    """All that is learned, by name."""
    state = {f"network/{name}": value for name, value in copied(learner.network).items()}
    state |= {f"head/{name}": value for name, value in copied(learner.head).items()}
    return state | {f"average/{name}": value.clone() for name, value in learner.averaged_state().items()}


def gradients(learner: Learner) -> dict[str, Tensor]:
    modules = {"network": learner.network, "head": learner.head}
    return {
        f"{part}/{name}": weight.grad.clone()
        for part, module in modules.items()
        for name, weight in module.named_parameters()
        if weight.grad is not None
    }


def test_one_step_changes_weights_and_statistics() -> None:
    learner = learner_of(PLAIN)
    network, head = copied(learner.network), copied(learner.head)
    learner.begin_epoch(0)
    learner.step(batch_of(), 0)
    assert changed(learner.head, head) == set(head)
    names = changed(learner.network, network)
    assert {name for name, _ in learner.network.named_parameters()} <= names
    assert {name for name in network if "running_" in name or "num_batches" in name} <= names


def test_the_batch_is_left_as_it_was() -> None:
    learner, batch = learner_of(PLAIN), batch_of()
    learner.begin_epoch(0)
    learner.step(batch, 0)
    again = batch_of()
    assert torch.equal(batch.images, again.images)
    assert torch.equal(batch.identities, again.identities)


def test_a_step_is_the_mean_loss_and_plain_gradient_descent() -> None:
    recipe = replace(PLAIN, momentum=0.0, weight_decay=0.0, triplet_weight=0.5, head_learning_rate=3.0)
    learner, batch = learner_of(recipe), batch_of()
    network, head = copy.deepcopy(learner.network), copy.deepcopy(learner.head)
    learner.begin_epoch(0)
    losses = learner.step(batch, 0)

    norm = Preprocessing()
    embeddings = network.train()(apply_plan(batch.images, batch.plan, batch.patch_images, mean=norm.mean, std=norm.std))
    entropy = cross_entropy(head.train()(embeddings, batch.identities), batch.identities, smoothing=0.1)
    triplet = batch_hard_triplet(embeddings, batch.identities, margin=None, ranks=Ranks())
    (entropy + 0.5 * triplet).backward()  # type: ignore[no-untyped-call]
    expected = torch.stack([entropy + 0.5 * triplet, entropy, triplet, *[torch.zeros_like(entropy)] * 3]).detach()
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    for trained, module, rate in ((learner.network, network, 0.01), (learner.head, head, 0.03)):
        for weight, before in zip(trained.parameters(), module.parameters(), strict=True):
            assert before.grad is not None
            torch.testing.assert_close(weight.detach(), (before - rate * before.grad).detach(), rtol=1e-4, atol=1e-5)


def test_without_triplets_and_a_teacher_the_loss_is_the_cross_entropy() -> None:
    learner = learner_of(PLAIN)
    learner.begin_epoch(0)
    loss, entropy, *others = learner.step(batch_of(), 0).tolist()
    assert loss == entropy > 0
    assert others == [0, 0, 0, 0]


def test_the_loss_falls_on_one_batch() -> None:
    learner = learner_of(replace(PLAIN, learning_rate=0.02, label_smoothing=0.0))
    learner.begin_epoch(0)
    losses = [float(learner.step(batch_of(), step)[0]) for step in range(8)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_frozen_epochs_train_the_head_alone(average: float) -> None:
    learner = learner_of(replace(PLAIN, frozen_epochs=1, average=average))
    network, head = copied(learner.network), copied(learner.head)
    for step in range(2):
        learner.begin_epoch(0)
        learner.step(batch_of(step), step)
    assert changed(learner.network, network) == set()
    assert changed(learner.head, head) == set(head)
    for name, value in learner.averaged_state().items():
        assert torch.equal(value, network[name])
    learner.begin_epoch(1)
    learner.step(batch_of(2), 2)
    assert {name for name, _ in learner.network.named_parameters()} <= changed(learner.network, network)


def test_the_rate_follows_the_schedule() -> None:
    recipe = replace(PLAIN, schedule="step", milestones=(1, 3), warmup_epochs=0.5, head_learning_rate=2.0)
    learner = learner_of(recipe, steps_an_epoch=4)
    rates = [learner.rate_at(step) for step in range(16)]
    assert rates == pytest.approx([0, 0.005, 0.01, 0.01, *[0.001] * 8, *[0.0001] * 4])
    learner.begin_epoch(0)
    learner.step(batch_of(), 1)
    assert [group["lr"] for group in learner.optimiser.param_groups] == pytest.approx([0.005, 0.01])


@pytest.mark.parametrize("accumulate", [2, 4])
def test_parts_add_up_to_the_gradient_of_the_whole(accumulate: int) -> None:
    """Frozen, the network's norms do not see the parts."""
    recipe = replace(PLAIN, frozen_epochs=1)
    whole, split = learner_of(recipe), learner_of(replace(recipe, accumulate=accumulate))
    losses = []
    for learner in (whole, split):
        learner.begin_epoch(0)
        losses.append(learner.step(batch_of(), 0))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)
    assert set(gradients(whole)) == {"head/classifier.weight", "head/classifier.bias"}
    for name, gradient in gradients(whole).items():
        torch.testing.assert_close(gradients(split)[name], gradient, rtol=1e-4, atol=1e-6)


def test_parts_add_up_in_the_network_too() -> None:
    whole, split = learner_of(PLAIN), learner_of(replace(PLAIN, accumulate=2))
    for learner in (whole, split):
        learner.begin_epoch(0)
        learner.network.eval()
        learner.step(batch_of(), 0)
    expected = gradients(whole)
    assert len(expected) == len([*whole.network.parameters(), *whole.head.parameters()])
    for name, gradient in gradients(split).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-4 * float(expected[name].abs().max()))


def test_long_gradients_are_clipped() -> None:
    free, clipped = learner_of(PLAIN), learner_of(replace(PLAIN, clip_norm=0.5))
    for learner in (free, clipped):
        learner.begin_epoch(0)
        learner.step(batch_of(), 0)
    length = torch.stack([gradient.norm() for gradient in gradients(free).values()]).norm()
    assert length > 0.5
    for name, gradient in gradients(clipped).items():
        torch.testing.assert_close(gradient, gradients(free)[name] * (0.5 / length), rtol=1e-4, atol=1e-6)


OPTIMISERS: dict[str, tuple[Recipe, type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (PLAIN, torch.optim.SGD, {"momentum": 0.9, "nesterov": False, "weight_decay": 5e-4}),
    "nesterov": (replace(PLAIN, nesterov=True, momentum=0.8), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "adam": (replace(PLAIN, optimiser="adam"), torch.optim.Adam, {"amsgrad": False, "weight_decay": 5e-4}),
    "amsgrad": (replace(PLAIN, optimiser="adam", amsgrad=True), torch.optim.Adam, {"amsgrad": True}),
    "adamw": (replace(PLAIN, optimiser="adamw", weight_decay=0.1), torch.optim.AdamW, {"weight_decay": 0.1}),
}


@pytest.mark.parametrize(("recipe", "kind", "values"), OPTIMISERS.values(), ids=OPTIMISERS)
def test_each_optimiser_is_built_as_the_recipe_says(
    recipe: Recipe, kind: type[torch.optim.Optimizer], values: dict[str, Any]
) -> None:
    learner = learner_of(replace(recipe, head_learning_rate=2.0))
    assert type(learner.optimiser) is kind
    network, head = learner.optimiser.param_groups
    assert [network["multiple"], head["multiple"]] == [1.0, 2.0]
    for group, module in ((network, learner.network), (head, learner.head)):
        assert {name: group[name] for name in values} == values
        assert {id(weight) for weight in group["params"]} == {id(weight) for weight in module.parameters()}


@pytest.mark.parametrize("average", [0.0, 0.95])
@pytest.mark.parametrize("name", ["sgd", "amsgrad", "adamw"])
def test_goes_on_to_the_bit_from_a_checkpoint(tmp_path: Path, name: str, average: float) -> None:
    recipe = replace(OPTIMISERS[name][0], average=average, clip_norm=5.0)
    learner = learner_of(recipe)
    path = tmp_path / "checkpoint.safetensors"
    for step in range(3):
        learner.begin_epoch(step // 2)
        learner.step(batch_of(step), step)
        if step == 1:
            write_checkpoint(path, learner.state_dict(), Progress(2), RunIdentity({}, {}, None, 1))
    again = learner_of(replace(recipe, seed=9))  # whose first head is another one
    again.load_state_dict(read_checkpoint(path)[0])
    again.begin_epoch(1)
    again.step(batch_of(2), 2)
    expected = parts(learner)
    for key, value in parts(again).items():
        assert torch.equal(value, expected[key]), key


def test_goes_on_to_the_bit_from_within_frozen_epochs(tmp_path: Path) -> None:
    recipe = replace(FINETUNE, model="osnet_x0_25", resolutions=("32x16@0",), batch_size=8, frozen_epochs=1)
    path = tmp_path / "checkpoint.safetensors"
    learner, again = learner_of(recipe), learner_of(recipe)
    learner.begin_epoch(0)
    learner.step(batch_of(0), 0)
    write_checkpoint(path, learner.state_dict(), Progress(1), RunIdentity({}, {}, None, 1))
    again.load_state_dict(read_checkpoint(path)[0])
    for each in (learner, again):
        each.begin_epoch(0)
        each.step(batch_of(1), 1)
        each.begin_epoch(1)
        each.step(batch_of(2), 2)
    expected = parts(learner)
    for key, value in parts(again).items():
        assert torch.equal(value, expected[key]), key


def test_double_precision_all_through() -> None:
    learner, rough = learner_of(replace(PLAIN, precision="fp64", average=0.9)), learner_of(PLAIN)
    for each in (learner, rough):
        each.begin_epoch(0)
    losses, expected = learner.step(batch_of(), 0), rough.step(batch_of(), 0)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5, check_dtype=False)
    values = [*learner.network.state_dict().values(), *learner.head.state_dict().values()]
    values += [*gradients(learner).values(), *learner.averaged_state().values()]
    assert all(value.dtype == torch.float64 for value in values if value.is_floating_point())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_float32_weights(precision: str) -> None:
    recipe = replace(PLAIN, precision=precision, average=0.9)  # type: ignore[arg-type]
    learner, exact = learner_of(recipe), learner_of(replace(recipe, precision="fp32"))
    before = copied(learner.network)
    for each in (learner, exact):
        each.begin_epoch(0)
    seen: list[torch.dtype] = []
    for module in learner.network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    losses, expected = learner.step(batch_of(), 0), exact.step(batch_of(), 0)
    assert set(seen) == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, expected, rtol=0.1, atol=0.05)
    assert not torch.equal(losses, expected)
    for module in (learner.network, learner.head):
        assert all(value.dtype == torch.float32 for value in module.state_dict().values() if value.is_floating_point())
    assert all(gradient.dtype == torch.float32 for gradient in gradients(learner).values())
    assert all(torch.isfinite(value).all() for value in learner.averaged_state().values())
    assert changed(learner.network, before)


def test_the_moving_average_is_what_is_kept() -> None:
    plain, averaged = learner_of(PLAIN), learner_of(replace(PLAIN, average=0.9))
    before = copied(averaged.network)
    for learner in (plain, averaged):
        learner.begin_epoch(0)
        learner.step(batch_of(), 0)
    present = averaged.network.state_dict()
    for name, value in plain.averaged_state().items():
        assert torch.equal(value, plain.network.state_dict()[name])
        assert torch.equal(value, present[name])  # averaging changes nothing of the training
    assert averaged.average is not None
    for name, value in averaged.averaged_state().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, before[name] * 2 / 11 + present[name] * 9 / 11, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["linear", "bnneck", "cosine"])
def test_each_head_learns(head: str) -> None:
    learner = learner_of(replace(PLAIN, head=head, cosine_margin=0.1))  # type: ignore[arg-type]
    before = copied(learner.head)
    learner.begin_epoch(0)
    assert learner.head.training
    learner.step(batch_of(), 0)
    assert "classifier.weight" in changed(learner.head, before)


def test_the_gates_can_have_a_weight_decay_of_their_own() -> None:
    """Without gradients, SGD changes a weight by its decay alone."""
    recipe = replace(PLAIN, weight_decay=0.1, gate_weight_decay=0.0)
    for chosen, gates_keep in ((recipe, True), (replace(recipe, gate_weight_decay=None), False)):
        learner = learner_of(chosen)
        before = {name: weight.detach().clone() for name, weight in learner.network.named_parameters()}
        for weight in learner.network.parameters():
            weight.grad = torch.zeros_like(weight)
        learner.optimiser.step()
        for name, weight in learner.network.named_parameters():
            if name.endswith("weight"):
                assert torch.equal(weight, before[name]) == (gates_keep and ".gate." in name), name


def test_a_run_with_a_decay_for_gates_goes_on_from_its_checkpoint() -> None:
    recipe = replace(PLAIN, gate_weight_decay=0.0)
    straight, stopped, resumed = (learner_of(recipe) for _ in range(3))
    for learner in (straight, stopped):
        learner.begin_epoch(0)
        learner.step(batch_of(0), 0)
    resumed.load_state_dict(stopped.state_dict())
    resumed.begin_epoch(0)
    for learner in (straight, resumed):
        learner.step(batch_of(1), 1)
    assert all(map(torch.equal, straight.network.parameters(), resumed.network.parameters()))
