from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from omnireid.errors import CheckpointError, CoverageError, ModelError, UnsafeCheckpointError
from omnireid.models.state import load_state
from omnireid.models.zoo import ARCHITECTURES, create_model
from omnireid.weights.checkpoint import Checkpoint, inspect_checkpoint, load_checkpoint
from omnireid.weights.published import find_published_file
from omnireid.weights.source import read_weights

State = dict[str, Tensor]

CLASSIFIER = {"classifier.weight", "classifier.bias"}
IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def save(path: Path, content: Any, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def model_of(checkpoint: Checkpoint) -> nn.Module:
    """The network of a checkpoint, ready to embed."""
    model = create_model(checkpoint.architecture)
    load_state(model, checkpoint.tensors)
    return model.eval()


def resnet50_state() -> State:
    """The keys of a ResNet-50, with tiny tensors."""
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7), "bn1.weight": torch.zeros(64)}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            for layer in (1, 2, 3):
                state[f"layer{stage}.{block}.conv{layer}.weight"] = torch.zeros(2, 2, 1, 1)
    return {**state, "fc.weight": torch.zeros(10, 20)}


@pytest.mark.parametrize(
    "name", [name for name, known in ARCHITECTURES.items() if name.startswith("osnet") and known.publishers]
)
def test_every_published_layout_loads_whole(name: str, tmp_path: Path, published_state: Callable[[str], State]) -> None:
    state = published_state(name)
    checkpoint = load_checkpoint(save(tmp_path / "weights.pth", state))
    report = checkpoint.inspection.report
    assert checkpoint.architecture == name
    assert checkpoint.inspection.num_classes == 751
    assert report.backbone_coverage == 1.0
    assert set(report.loaded) == set(state) - CLASSIFIER
    assert (report.missing, report.unexpected, report.mismatched, set(report.left_out)) == ((), (), (), CLASSIFIER)
    assert report.notes == ()
    assert {key: values.shape for key, values in checkpoint.tensors.items()} == ARCHITECTURES[name].key_layout.shapes
    names = ARCHITECTURES[name].key_layout.published_names["torchreid"]
    for key, values in checkpoint.tensors.items():
        assert np.array_equal(values, state[names[key]].numpy())


def test_what_comes_out(tmp_path: Path, small_state: State) -> None:
    checkpoint = load_checkpoint(str(save(tmp_path / "w.pth", small_state, legacy=True)))
    assert {values.dtype.name for values in checkpoint.tensors.values()} == {"float32", "int64"}
    assert checkpoint.inspection.source_format == "legacy"
    assert set(checkpoint.inspection.report.left_out) == CLASSIFIER
    assert len(checkpoint.inspection.report.loaded) == 565


@pytest.mark.parametrize("classes", [1, 4101])
def test_a_classifier_of_any_size_is_left_out(tmp_path: Path, small_state: State, classes: int) -> None:
    state = small_state | {"classifier.weight": torch.zeros(classes, 512), "classifier.bias": torch.zeros(classes)}
    checkpoint = load_checkpoint(save(tmp_path / "w.pth", state))
    assert checkpoint.inspection.num_classes == classes
    assert not CLASSIFIER & set(checkpoint.tensors)


def test_without_a_classifier(tmp_path: Path, small_state: State) -> None:
    path = save(tmp_path / "w.pth", {key: small_state[key] for key in small_state if key not in CLASSIFIER})
    assert load_checkpoint(path).inspection.num_classes is None


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-2), (torch.bfloat16, 1e-1), (torch.float64, 0)])
def test_other_precisions(tmp_path: Path, small_state: State, dtype: torch.dtype, tolerance: float) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in small_state.items()}
    checkpoint = load_checkpoint(save(tmp_path / "w.pth", state))
    exact = model_of(load_checkpoint(save(tmp_path / "exact.pth", small_state)))
    with torch.no_grad():
        found, expected = model_of(checkpoint)(IMAGES), exact(IMAGES)
    assert found.dtype == torch.float32
    assert float((found - expected).abs().max()) <= tolerance * float(expected.max())
    assert checkpoint.inspection.report.notes == (f"Stored as {str(dtype)[6:]}; loaded as float32.",)


def test_no_counters(tmp_path: Path, small_state: State) -> None:
    state = {key: value for key, value in small_state.items() if not key.endswith("num_batches_tracked")}
    checkpoint = load_checkpoint(save(tmp_path / "w.pth", state))
    assert checkpoint.inspection.report.backbone_coverage == 1.0
    assert checkpoint.inspection.report.missing == ()
    assert checkpoint.tensors["fc.norm.num_batches_tracked"] == 0


def test_wrapped_prefixed_and_with_numpy_beside(tmp_path: Path, small_state: State) -> None:
    content = {
        "state_dict": {f"module.{key}": value for key, value in small_state.items()},
        "epoch": 250,
        "rank1": np.float64(0.912),
    }
    inspection = inspect_checkpoint(save(tmp_path / "w.pth.tar", content))
    assert inspection.architecture == "osnet_x0_25"
    assert inspection.refusal is None
    assert (inspection.wrapper, inspection.prefix) == ("state_dict", "module.")
    assert inspection.beside == ("epoch", "rank1")
    assert inspection.data_types == ("float32", "int64")


def test_our_own_names_in_a_pth(tmp_path: Path) -> None:
    for name in ("osnet_x0_25", "osnet_ain_x0_25"):
        model = create_model(name, 5, generator=torch.Generator().manual_seed(1)).eval()
        checkpoint = load_checkpoint(save(tmp_path / "w.pth", model.state_dict()))
        assert checkpoint.architecture == name
        assert checkpoint.inspection.num_classes == 5
        with torch.no_grad():
            assert torch.equal(model_of(checkpoint)(IMAGES), model(IMAGES))


def test_batch_norms_are_not_taken_for_instance_norms(tmp_path: Path) -> None:
    # In our own names, all that AIN asks for is in a plain OSNet too, with statistics besides.
    path = save(tmp_path / "w.pth", create_model("osnet_x0_25").state_dict())
    with pytest.raises(CoverageError, match=r"This is osnet_x0_25: it covers that one whole"):
        load_checkpoint(path, "osnet_ain_x0_25")


def test_keys_win_over_the_file_name(tmp_path: Path, small_state: State) -> None:
    checkpoint = load_checkpoint(save(tmp_path / "osnet_x1_0_msmt17.pt", small_state))
    assert checkpoint.architecture == "osnet_x0_25"
    assert checkpoint.inspection.report.notes == (
        "The file name says osnet_x1_0, but its keys and shapes are those of osnet_x0_25, which was taken.",
    )
    agreeing = load_checkpoint(save(tmp_path / "OSNet_x0_25_msmt17.pt", small_state))
    assert agreeing.inspection.report.notes == ()
    unknown = load_checkpoint(save(tmp_path / "osnet_x0_9.pt", small_state))
    assert unknown.inspection.report.notes == ()


def test_the_file_name_is_held_against_where_keys_tell_nothing(tmp_path: Path) -> None:
    inspection = inspect_checkpoint(save(tmp_path / "osnet_x0_5.pth", {"a": torch.ones(2), "b": torch.ones(2)}))
    assert inspection.architecture is None
    assert inspection.report.architecture == "osnet_x0_5"
    assert inspection.refusal is not None
    assert "None of its keys belongs to a network that is known here" in inspection.refusal


def test_another_architecture(tmp_path: Path) -> None:
    path = save(tmp_path / "resnet.pth", resnet50_state())
    with pytest.raises(CoverageError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "does not cover the backbone of resnet50: 2 tensors fit" in message
    assert "This looks like a ResNet-50, but not like a whole one that is known here." in message
    inspection = inspect_checkpoint(path)
    assert inspection.architecture == "resnet50"
    assert inspection.refusal == message
    assert len(inspection.report.mismatched) == len(resnet50_state()) - 3


def test_half_the_backbone(tmp_path: Path, small_state: State) -> None:
    keys = [key for key in small_state if key not in CLASSIFIER and not key.endswith("num_batches_tracked")]
    path = save(tmp_path / "half.pth", {key: small_state[key] for key in keys[: (len(keys) + 1) // 2]})
    with pytest.raises(CoverageError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "does not cover the backbone of osnet_x0_25" in message
    assert "(50 % of the backbone)" in message
    assert "Part of the network is missing. Missing tensors by stage: conv3" in message
    inspection = inspect_checkpoint(path)
    assert inspection.architecture == "osnet_x0_25"
    assert inspection.report.backbone_coverage == pytest.approx(0.5, abs=0.01)


def test_one_missing_tensor_is_enough(tmp_path: Path, small_state: State) -> None:
    state = {key: value for key, value in small_state.items() if key != "conv5.conv.weight"}
    with pytest.raises(
        CoverageError, match=r"99 % of the backbone\), 1 are missing.*\nFirst missing: conv5\.conv\.weight\."
    ):
        load_checkpoint(save(tmp_path / "w.pth", state))


@pytest.mark.parametrize("asked", ["osnet_x0_5", "osnet_ain_x0_25", "osnet_ibn_x1_0"])
def test_the_wrong_architecture_asked_for(tmp_path: Path, small_state: State, asked: str) -> None:
    path = save(tmp_path / "w.pth", small_state)
    with pytest.raises(CoverageError) as caught:
        load_checkpoint(path, asked)
    assert f"does not cover the backbone of {asked}" in str(caught.value)
    assert "This is osnet_x0_25: it covers that one whole. Leave the architecture out" in str(caught.value)
    assert inspect_checkpoint(path, asked).report.architecture == asked


def test_a_wrong_width_names_the_shapes(tmp_path: Path, small_state: State) -> None:
    with pytest.raises(CoverageError, match=r"conv1\.conv\.weight: \(16, 3, 7, 7\) in the file, \(64, 3, 7, 7\) in"):
        load_checkpoint(save(tmp_path / "w.pth", small_state), "osnet_x1_0")


def test_ibn_asked_to_be_plain(tmp_path: Path, published_state: Callable[[str], State]) -> None:
    path = save(tmp_path / "w.pth", published_state("osnet_ibn_x1_0"))
    with pytest.raises(CoverageError, match=r"(?s)First missing: conv1\.bn\.running_mean.*This is osnet_ibn_x1_0"):
        load_checkpoint(path, "osnet_x1_0")


def test_an_architecture_that_does_not_exist(tmp_path: Path, small_state: State) -> None:
    path = save(tmp_path / "w.pth", small_state)
    for call in (load_checkpoint, inspect_checkpoint):
        with pytest.raises(ModelError, match="Did you mean osnet_x0_25"):
            call(path, "osnet_x025")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(tmp_path: Path, small_state: State, value: float) -> None:
    broken = small_state["conv4.0.conv3.bn.weight"].clone()
    broken[3] = value
    path = save(tmp_path / "w.pth", small_state | {"conv4.0.conv3.bn.weight": broken})
    with pytest.raises(
        CheckpointError, match=r"conv4\.0\.conv3\.bn\.weight has 1 values that are not finite"
    ) as caught:
        load_checkpoint(path)
    assert inspect_checkpoint(path).refusal == str(caught.value)


@pytest.mark.parametrize(
    "change",
    [lambda t: t.to(torch.int8), lambda t: t.to_sparse(), lambda t: t.to("meta")],
    ids=["integers", "sparse", "no values"],
)
def test_values_in_another_form(tmp_path: Path, small_state: State, change: Callable[[Tensor], Tensor]) -> None:
    path = save(tmp_path / "w.pth", small_state | {"fc.0.weight": change(small_state["fc.0.weight"])})
    with pytest.raises(CheckpointError, match=r"fc\.0\.weight holds \w+ values in a form that cannot be used"):
        load_checkpoint(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated(tmp_path: Path, small_state: State, legacy: bool) -> None:
    path = save(tmp_path / "w.pth", small_state, legacy=legacy)
    path.write_bytes(path.read_bytes()[:-2000])
    for call in (load_checkpoint, inspect_checkpoint):
        with pytest.raises(
            CheckpointError, match=r"w\.pth .*cannot be read as a checkpoint: it is truncated or altered"
        ):
            call(path)


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", create_model("osnet_x0_25"))
    with pytest.raises(UnsafeCheckpointError, match=r"asks for omnireid\.models\.osnet\.OSNet, "):
        load_checkpoint(path)


def test_an_extra_head_is_reported_and_does_no_harm(tmp_path: Path, small_state: State) -> None:
    report = load_checkpoint(
        save(tmp_path / "w.pth", small_state | {"attributes.bias": torch.ones(3)})
    ).inspection.report
    assert report.unexpected == ("attributes.bias",)
    assert report.backbone_coverage == 1.0


def test_loading_draws_no_random_numbers(tmp_path: Path, small_state: State) -> None:
    before = torch.get_rng_state()
    load_checkpoint(save(tmp_path / "w.pth", small_state))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.real
def test_the_public_checkpoint(shared: Path, rule: ModuleType) -> None:
    path = shared / "weights" / "osnet_x0_25_market1501.pth"
    checkpoint = load_checkpoint(path)
    assert checkpoint.architecture == "osnet_x0_25"
    assert checkpoint.inspection.source_format == "legacy"
    assert checkpoint.inspection.num_classes == 751
    report = checkpoint.inspection.report
    assert report.backbone_coverage == 1.0
    assert report.missing == report.unexpected == report.mismatched == ()
    published = find_published_file(checkpoint.inspection.sha256)
    assert published is not None
    assert published.name == "torchreid/osnet_x0_25.market1501"
    assert published.size == path.stat().st_size
    with torch.no_grad():
        embedding = model_of(checkpoint)(torch.from_numpy(rule.images(2)))
    assert embedding.shape == (2, 512)
    assert 0 < float(embedding.max()) < 100


def test_plain_safetensors_of_others(tmp_path: Path, small_state: State) -> None:
    path = tmp_path / "osnet.safetensors"
    save_file({f"module.{key}": value for key, value in small_state.items()}, path)
    checkpoint = load_checkpoint(path)
    assert (checkpoint.architecture, checkpoint.inspection.source_format) == ("osnet_x0_25", "safetensors")
    expected = load_checkpoint(save(tmp_path / "w.pth", small_state)).tensors
    assert all(np.array_equal(values, expected[key]) for key, values in checkpoint.tensors.items())
    save_file({key: value for key, value in small_state.items() if not key.startswith("conv5")}, path)
    with pytest.raises(CoverageError, match=r"osnet\.safetensors does not cover the backbone of osnet_x0_25"):
        load_checkpoint(path)


def test_a_moving_average_beside_the_weights_is_told(tmp_path: Path, small_state: State) -> None:
    average = {f"module.{key}": value * 2 if value.is_floating_point() else value for key, value in small_state.items()}
    path = save(tmp_path / "best.pth.tar", {"ema": average, "state_dict": small_state, "epoch": 3})
    inspection = inspect_checkpoint(path)
    assert (inspection.wrapper, inspection.other_states) == ("state_dict", ("ema",))
    told = (
        "2 complete sets of weights, and 'state_dict' was taken. To use 'ema', convert it: omnireid convert "
        "best.pth.tar --state ema --output best-ema.safetensors"
    )
    assert told in inspection.report.table()
    with pytest.warns(UserWarning, match=re.escape(told)):
        tensors, metadata = read_weights(path)
    assert metadata.origin == "best.pth.tar, the weights under 'state_dict'"
    other, metadata = read_weights(path, state="ema")  # asked for by name, it is no surprise
    assert metadata.origin == "best.pth.tar, the weights under 'ema'"
    assert np.array_equal(other["fc.linear.weight"], 2 * tensors["fc.linear.weight"])
