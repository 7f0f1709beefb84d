from __future__ import annotations

import json

import pytest

from omnireid.models.coverage import CoverageReport, compare, likely_cause, name_family, refusal

EXPECTED = {
    "conv1.conv.weight": (16, 3, 7, 7),
    "conv1.norm.weight": (16,),
    "conv1.norm.num_batches_tracked": (),
    "fc.linear.weight": (512, 128),
}
OWN_NAMES = {
    "conv1.conv.weight": "conv1.conv.weight",
    "conv1.bn.weight": "conv1.norm.weight",
    "conv1.bn.num_batches_tracked": "conv1.norm.num_batches_tracked",
    "fc.0.weight": "fc.linear.weight",
}


def test_every_key_is_accounted_for() -> None:
    found = {
        "conv1.conv.weight": (16, 3, 7, 7),
        "fc.0.weight": (512, 512),
        "extra.weight": (3,),
        "classifier.weight": (751, 512),
    }
    report, targets = compare("osnet_x0_25", found, EXPECTED, OWN_NAMES)
    assert targets == {"conv1.conv.weight": "conv1.conv.weight"}
    assert report.loaded == ("conv1.conv.weight",)
    assert report.missing == ("conv1.bn.weight",)
    assert report.unexpected == ("extra.weight",)
    assert report.mismatched == ("fc.0.weight",)
    assert report.left_out == ("classifier.weight",)
    assert report.shapes == {"fc.0.weight": ((512, 512), (512, 128))}
    assert report.backbone_coverage == pytest.approx(1 / 3)
    assert not report.is_complete


def test_our_own_names_are_understood_and_used_for_what_is_missing() -> None:
    report, _ = compare("x", {"conv1.norm.weight": (16,)}, EXPECTED, OWN_NAMES)
    assert report.loaded == ("conv1.norm.weight",)
    assert report.missing == ("conv1.conv.weight", "fc.linear.weight")


def test_one_tensor_under_two_names_fills_one_place() -> None:
    report, targets = compare("x", {"fc.0.weight": (512, 128), "fc.linear.weight": (512, 128)}, EXPECTED, OWN_NAMES)
    assert list(targets) == ["fc.0.weight"]
    assert report.unexpected == ("fc.linear.weight",)


def test_counters_are_never_missed() -> None:
    whole = {key: shape for key, shape in EXPECTED.items() if not key.endswith("tracked")}
    report, _ = compare("x", whole, EXPECTED)
    assert report.is_complete
    assert report.backbone_coverage == 1.0


@pytest.mark.parametrize(
    ("unexpected", "complete"),
    [
        ("conv1.bn.running_mean", False),  # a batch norm where the network has an instance norm
        ("conv5.extra.weight", False),
        ("pool2.0.conv.weight", False),
        ("conv1.bn.num_batches_tracked", True),
        ("attributes.weight", True),  # another head on the same backbone
    ],
)
def test_a_further_piece_of_a_backbone_is_another_network(unexpected: str, complete: bool) -> None:
    assert CoverageReport("x", ("conv1.conv.weight",), (), (unexpected,), ()).is_complete is complete


def test_an_empty_comparison_covers_nothing() -> None:
    assert CoverageReport("x", (), (), (), ()).backbone_coverage == 0.0


def test_table_and_json() -> None:
    report = CoverageReport(
        "osnet_x0_25",
        loaded=("a.weight",),
        missing=("b.weight",),
        unexpected=(),
        mismatched=("c.weight",),
        left_out=("classifier.weight",),
        shapes={"c.weight": ((2,), (3,))},
        notes=("Stored as float16; loaded as float32.",),
    )
    table = report.table()
    assert "coverage      33 % of the backbone" in table
    assert "missing       1\n" in table
    assert "missing: b.weight" in table
    assert "mismatched: c.weight: (2,) in the file, (3,) in the network" in table
    assert table.endswith("note: Stored as float16; loaded as float32.")
    content = json.loads(json.dumps(report.json()))
    assert content["missing"] == ["b.weight"]
    assert content["left_out"] == ["classifier.weight"]
    assert content["shapes"] == {"c.weight": {"file": [2], "network": [3]}}
    assert content["backbone_coverage"] == pytest.approx(1 / 3)


def test_percents_are_rounded_down() -> None:
    loaded = tuple(f"conv5.{i}" for i in range(999))
    report = CoverageReport("x", loaded, ("conv5.last",), (), ())
    assert "99 % of the backbone" in report.table()


def test_a_refusal_has_counts_first_keys_and_cause() -> None:
    report = CoverageReport("osnet_x1_0", ("a",), ("b", "c", "d", "e"), ("x",), ("m",), shapes={"m": ((1,), (2,))})
    message = refusal("w.pth", report, "Because.")
    assert message.startswith("w.pth does not cover the backbone of osnet_x1_0: 1 tensors fit (16 % of the backbone), ")
    assert "4 are missing, 1 have another shape, 1 are unexpected." in message
    assert "First missing: b, c, d, …" in message
    assert "First of another shape: m: (1,) in the file, (2,) in the network." in message
    assert "First unexpected: x." in message
    assert message.endswith("\nBecause.")


def resnet(blocks: int, *, bottleneck: bool, prefix: str = "") -> list[str]:
    last = 3 if bottleneck else 2
    keys = [f"{prefix}conv1.weight"]
    return keys + [
        f"{prefix}layer{s}.{b}.conv{c}.weight" for s in (1, 3) for b in range(blocks) for c in range(1, last + 1)
    ]


@pytest.mark.parametrize(
    ("keys", "family"),
    [
        (resnet(6, bottleneck=True), "a ResNet-50"),
        (resnet(6, bottleneck=True, prefix="base."), "a ResNet-50"),
        (resnet(23, bottleneck=True), "a ResNet-101"),
        (resnet(6, bottleneck=False), "a ResNet-34"),
        (resnet(2, bottleneck=False), "a ResNet-18"),
        (resnet(5, bottleneck=False), "a ResNet"),
        (["patch_embed.proj.weight", "blocks.0.attn.qkv.weight"], "a vision transformer"),
        (["features.1.conv.0.0.weight"], "a MobileNet"),
        (["conv2.0.conv2a.conv1.weight"], None),
        ([], None),
    ],
)
def test_families_are_told_by_their_keys(keys: list[str], family: str | None) -> None:
    assert name_family(keys) == family


def test_causes_of_osnets_own() -> None:
    part = CoverageReport("osnet_x1_0", ("conv1.a",), ("conv4.a", "conv4.b", "fc.a"), (), ())
    assert "by stage: conv4 (2), fc (1)" in likely_cause({}, part, part)
    changed = CoverageReport("osnet_x1_0", ("conv1.a",), (), ("conv5.new",), ())
    assert "has parts that osnet_x1_0 does not have" in likely_cause({}, changed, changed)
    nearer = CoverageReport("osnet_x0_5", ("conv1.a",), ("fc.a",), (), ())
    assert "closest to osnet_x0_5, of which it covers 50 %" in likely_cause({}, part, nearer)
    whole = CoverageReport("osnet_x0_5", ("conv1.a",), (), (), ())
    assert likely_cause({}, part, whole).startswith("This is osnet_x0_5: it covers that one whole.")
    nothing = CoverageReport("osnet_x1_0", (), ("conv1.a",), (), ())
    assert likely_cause({}, part, nothing).startswith("None of its keys belongs to a network that is known here.")
