from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from omnireid.errors import CheckpointError, CoverageError, ModelError, UnsafeCheckpointError
from omnireid.models.checkpoint import inspect_checkpoint, load_checkpoint, load_state
from omnireid.models.osnet import OSNet
from omnireid.models.osnet_config import OSNetConfig
from omnireid.models.zoo import ARCHITECTURES, create_model
from omnireid.weights.published import find_published_file

State = dict[str, Tensor]

CLASSIFIER = {"classifier.weight", "classifier.bias"}
IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def save(path: Path, content: Any, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def resnet50_state() -> State:
    """The keys of a ResNet-50, with tiny tensors."""
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7), "bn1.weight": torch.zeros(64)}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            for layer in (1, 2, 3):
                state[f"layer{stage}.{block}.conv{layer}.weight"] = torch.zeros(2, 2, 1, 1)
    return {**state, "fc.weight": torch.zeros(10, 20)}


@pytest.mark.parametrize("name", [name for name, known in ARCHITECTURES.items() if known.published_name])
def test_every_published_layout_loads_whole(name: str, tmp_path: Path, published_state: Callable[[str], State]) -> None:
    state = published_state(name)
    checkpoint = load_checkpoint(save(tmp_path / "weights.pth", state), keep_classifier=True)
    report = checkpoint.report
    assert checkpoint.architecture == name
    assert checkpoint.num_classes == 751
    assert report.backbone_coverage == 1.0
    assert set(report.loaded) == set(state)
    assert (report.missing, report.unexpected, report.mismatched, report.left_out) == ((), (), (), ())
    assert report.notes == ()
    loaded = sorted(float(tensor.double().sum()) for tensor in checkpoint.model.state_dict().values())
    assert loaded == sorted(float(tensor.double().sum()) for tensor in state.values())


def test_what_comes_out(tmp_path: Path, small_state: State) -> None:
    checkpoint = load_checkpoint(str(save(tmp_path / "w.pth", small_state, legacy=True)))
    assert not checkpoint.model.training
    assert checkpoint.model.classifier is None
    assert {parameter.dtype for parameter in checkpoint.model.parameters()} == {torch.float32}
    assert checkpoint.source_format == "legacy"
    assert set(checkpoint.report.left_out) == CLASSIFIER
    assert len(checkpoint.report.loaded) == 565


@pytest.mark.parametrize("classes", [1, 4101])
def test_a_classifier_of_any_size(tmp_path: Path, small_state: State, classes: int) -> None:
    state = small_state | {
        "classifier.weight": torch.full((classes, 512), 0.5),
        "classifier.bias": torch.arange(float(classes)),
    }
    path = save(tmp_path / "w.pth", state)
    assert load_checkpoint(path).num_classes == classes
    kept = load_checkpoint(path, keep_classifier=True).model
    assert kept.classifier is not None
    assert torch.equal(kept.classifier.bias, state["classifier.bias"])


def test_without_a_classifier(tmp_path: Path, small_state: State) -> None:
    path = save(tmp_path / "w.pth", {key: small_state[key] for key in small_state if key not in CLASSIFIER})
    assert load_checkpoint(path).num_classes is None
    with pytest.raises(CoverageError, match="no classifier of 512 inputs to keep"):
        load_checkpoint(path, keep_classifier=True)


def test_a_classifier_without_bias_cannot_be_kept(tmp_path: Path, small_state: State) -> None:
    path = save(tmp_path / "w.pth", {key: small_state[key] for key in small_state if key != "classifier.bias"})
    assert load_checkpoint(path).num_classes == 751
    with pytest.raises(CoverageError, match=r"First missing: classifier\.bias"):
        load_checkpoint(path, keep_classifier=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-2), (torch.bfloat16, 1e-1), (torch.float64, 0)])
def test_other_precisions(tmp_path: Path, small_state: State, dtype: torch.dtype, tolerance: float) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in small_state.items()}
    checkpoint = load_checkpoint(save(tmp_path / "w.pth", state))
    exact = load_checkpoint(save(tmp_path / "exact.pth", small_state)).model
    with torch.no_grad():
        found, expected = checkpoint.model(IMAGES), exact(IMAGES)
    assert found.dtype == torch.float32
    assert float((found - expected).abs().max()) <= tolerance * float(expected.max())
    assert checkpoint.report.notes == (f"Stored as {str(dtype)[6:]}; loaded as float32.",)


def test_no_counters(tmp_path: Path, small_state: State) -> None:
    state = {key: value for key, value in small_state.items() if not key.endswith("num_batches_tracked")}
    checkpoint = load_checkpoint(save(tmp_path / "w.pth", state))
    assert checkpoint.report.backbone_coverage == 1.0
    assert checkpoint.report.missing == ()
    assert checkpoint.model.state_dict()["fc.norm.num_batches_tracked"] == 0


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
        assert checkpoint.num_classes == 5
        with torch.no_grad():
            assert torch.equal(checkpoint.model(IMAGES), model(IMAGES))


def test_batch_norms_are_not_taken_for_instance_norms(tmp_path: Path) -> None:
    # In our own names, all that AIN asks for is in a plain OSNet too, with statistics besides.
    path = save(tmp_path / "w.pth", create_model("osnet_x0_25").state_dict())
    with pytest.raises(CoverageError, match=r"This is osnet_x0_25: it covers that one whole"):
        load_checkpoint(path, "osnet_ain_x0_25")


def test_keys_win_over_the_file_name(tmp_path: Path, small_state: State) -> None:
    checkpoint = load_checkpoint(save(tmp_path / "osnet_x1_0_msmt17.pt", small_state))
    assert checkpoint.architecture == "osnet_x0_25"
    assert checkpoint.report.notes == (
        "The file name says osnet_x1_0, its keys and shapes say osnet_x0_25: the keys were believed.",
    )
    agreeing = load_checkpoint(save(tmp_path / "OSNet_x0_25_msmt17.pt", small_state))
    assert agreeing.report.notes == ()
    unknown = load_checkpoint(save(tmp_path / "osnet_x0_9.pt", small_state))
    assert unknown.report.notes == ()


def test_the_file_name_is_held_against_where_keys_tell_nothing(tmp_path: Path) -> None:
    inspection = inspect_checkpoint(save(tmp_path / "osnet_x0_5.pth", {"a": torch.ones(2), "b": torch.ones(2)}))
    assert inspection.architecture is None
    assert inspection.report.architecture == "osnet_x0_5"
    assert inspection.refusal is not None
    assert "No key of it is an OSNet's" in inspection.refusal


def test_another_architecture(tmp_path: Path) -> None:
    path = save(tmp_path / "resnet.pth", resnet50_state())
    with pytest.raises(CoverageError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "0 tensors fit (0 % of the backbone)" in message
    assert "First unexpected: conv1.weight, bn1.weight, layer1.0.conv1.weight, …" in message
    assert "This looks like a ResNet-50, which is not an OSNet." in message
    inspection = inspect_checkpoint(path)
    assert inspection.architecture is None
    assert inspection.refusal == message
    assert len(inspection.report.unexpected) == len(resnet50_state())


def test_half_the_backbone(tmp_path: Path, small_state: State) -> None:
    keys = [key for key in small_state if key not in CLASSIFIER and not key.endswith("num_batches_tracked")]
    path = save(tmp_path / "half.pth", {key: small_state[key] for key in keys[: (len(keys) + 1) // 2]})
    with pytest.raises(CoverageError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "does not cover the backbone of osnet_x0_25" in message
    assert "(50 % of the backbone)" in message
    assert "A part of the network is not in it; tensors to fill, by stage: conv3" in message
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
    report = load_checkpoint(save(tmp_path / "w.pth", small_state | {"attributes.bias": torch.ones(3)})).report
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
    assert checkpoint.source_format == "legacy"
    assert checkpoint.num_classes == 751
    assert checkpoint.report.backbone_coverage == 1.0
    assert checkpoint.report.missing == checkpoint.report.unexpected == checkpoint.report.mismatched == ()
    published = find_published_file(checkpoint.sha256)
    assert published is not None
    assert published.name == "torchreid/osnet_x0_25.market1501"
    assert published.size == path.stat().st_size
    with torch.no_grad():
        embedding = checkpoint.model(torch.from_numpy(rule.images(2)))
    assert embedding.shape == (2, 512)
    assert 0 < float(embedding.max()) < 100


def arrays(model: nn.Module) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    return {key: tensor.numpy().copy() for key, tensor in model.state_dict().items()}


def test_load_state_fills_whole() -> None:
    source = OSNet(OSNetConfig(width=0.3, gate="fixed"), generator=torch.Generator().manual_seed(1)).eval()
    target = OSNet(source.config).eval()
    content = arrays(source)
    for array in content.values():
        array.setflags(write=False)  # as safetensors may hand them out
    report = load_state(target, content)
    assert report.architecture == "this network"
    assert report.backbone_coverage == 1.0
    with torch.no_grad():
        assert torch.equal(target(IMAGES), source(IMAGES))


def test_load_state_takes_tensors_of_half_precision_and_leaves_a_classifier_out() -> None:
    source, target = (
        create_model("osnet_x0_25", 9, generator=torch.Generator().manual_seed(1)),
        create_model("osnet_x0_25"),
    )
    halves = {key: value.half() if value.is_floating_point() else value for key, value in source.state_dict().items()}
    report = load_state(target, halves)
    assert report.architecture == "osnet_x0_25"
    assert set(report.left_out) == CLASSIFIER
    key = "conv5.conv.weight"
    assert torch.equal(target.state_dict()[key], source.state_dict()[key].half().float())


def test_load_state_is_all_or_nothing() -> None:
    source, target = (
        create_model("osnet_x0_25", generator=torch.Generator().manual_seed(1)),
        create_model("osnet_x0_25"),
    )
    before = arrays(target)
    content = arrays(source)
    del content["fc.linear.bias"]
    with pytest.raises(CoverageError, match=r"(?s)^w\.safetensors does not cover .*First missing: fc\.linear\.bias"):
        load_state(target, content, where="w.safetensors")
    content = arrays(source)
    content["fc.linear.bias"][0] = np.nan
    with pytest.raises(CheckpointError, match=r"^w\.safetensors: fc\.linear\.bias has 1 values that are not finite"):
        load_state(target, content, where="w.safetensors")
    after = arrays(target)
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_load_state_names_the_right_variant() -> None:
    with pytest.raises(
        CoverageError, match=r"(?s)^This state does not cover the backbone of osnet_x0_25: .*This is osnet_x0_5: "
    ):
        load_state(create_model("osnet_x0_25"), arrays(create_model("osnet_x0_5")))
