from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omnireid.models.blocks import ChannelGate, ConvNorm, FixedGates, LiteConv, OmniScaleBlock
from omnireid.models.layers import initialise
from omnireid.models.osnet_config import InstanceNorm


def block(**changes: Any) -> OmniScaleBlock:
    values: dict[str, Any] = {
        "depths": (1, 2, 3, 4),
        "convolution": "lite",
        "fusion": "gated-sum",
        "gate": "unified",
        "instance": "none",
    }
    made = OmniScaleBlock(64, 128, **(values | changes)).eval()
    initialise(made, torch.Generator().manual_seed(1))
    return made


def maps(seed: int = 2, size: int = 12) -> Tensor:
    return torch.randn(2, 64, size, size, generator=torch.Generator().manual_seed(seed))


def test_stream_t_sees_2t_plus_1_pixels() -> None:
    single = torch.zeros(1, 32, 15, 15)
    single[0, :, 7, 7] = 1.0
    made = block()
    for index, stream in enumerate(made.streams):
        before, after = stream(torch.zeros_like(single)), stream(single)
        touched = (before != after).any(dim=1)[0].nonzero()
        assert int(touched.max() - touched.min()) + 1 == 2 * (index + 1) + 1


def test_lite_convolution_is_pointwise_then_depthwise() -> None:
    made = LiteConv(8)
    assert made.pointwise.weight.shape == (8, 8, 1, 1)
    assert made.depthwise.weight.shape == (8, 1, 3, 3)
    assert made.pointwise.bias is None
    assert made.depthwise.bias is None


def test_unified_gate_is_one_module_for_all_streams() -> None:
    unified, separate = block(), block(gate="separate")
    assert sum(isinstance(module, ChannelGate) for module in unified.modules()) == 1
    assert sum(isinstance(module, ChannelGate) for module in separate.modules()) == 4
    assert len({id(parameter) for gate in separate.gate.children() for parameter in gate.parameters()}) == 16  # type: ignore[union-attr]


def test_equal_streams_get_equal_weights_from_a_unified_gate_only() -> None:
    same = {"depths": (2, 2)}
    unified, separate = block(**same), block(gate="separate", **same)
    for made in (unified, separate):
        made.streams[1].load_state_dict(made.streams[0].state_dict())
        _, gates = made.forward_gates(maps())
        assert torch.equal(gates[:, 0], gates[:, 1]) == (made is unified)


def test_fixed_gates_ignore_the_input_and_differ_by_stream() -> None:
    made = block(gate="fixed")
    assert isinstance(made.gate, FixedGates)
    with torch.no_grad():
        _, gates = made.forward_gates(maps())
        made.gate.logits[1] = 3.0
        _, first = made.forward_gates(maps(seed=3))
        _, second = made.forward_gates(maps(seed=4))
    assert torch.equal(gates, torch.full((2, 4, 32), 0.5))
    assert torch.equal(first, second)
    assert float(first[0, 1, 0]) == pytest.approx(0.952574, abs=1e-6)


def test_a_stream_weight_gate_gives_each_stream_a_single_weight() -> None:
    _, gates = block(gate="stream-weight").forward_gates(maps())
    assert gates.shape == (2, 4, 1)


def test_gates_depend_on_the_input() -> None:
    made = block()
    assert not torch.equal(made.forward_gates(maps(3))[1], made.forward_gates(maps(4))[1])


def test_sum_is_a_gated_sum_of_ones() -> None:
    added, gated = block(fusion="sum", gate="none"), block(gate="fixed")
    gated.load_state_dict({**added.state_dict(), "gate.logits": torch.full((4, 32), 40.0)})
    torch.testing.assert_close(gated(maps()), added(maps()))


def test_concatenation_restores_from_all_streams() -> None:
    made = block(fusion="concatenation", gate="none")
    weight = made.restore.conv.weight
    assert weight.shape == (128, 4 * 32, 1, 1)
    reduced = made.reduce(maps())
    restored = sum(
        nn.functional.conv2d(stream(reduced), weight[:, 32 * index : 32 * (index + 1)])
        for index, stream in enumerate(made.streams)
    )
    expected = nn.functional.relu(made.restore.norm(restored) + made.shortcut(maps()))
    torch.testing.assert_close(made(maps()), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("instance", "keys"), [("none", set()), ("branch", {"restore.norm"}), ("sum", {"sum_norm"})])
def test_the_instance_norm_stands_where_the_design_says(instance: InstanceNorm, keys: set[str]) -> None:
    made = block(instance=instance)
    found = {name for name, module in made.named_modules() if isinstance(module, nn.InstanceNorm2d)}
    assert found == keys
    streams = made._run_streams(maps())
    weights = [made.gate(stream) for stream in streams]  # type: ignore[misc]
    fused = torch.stack([w * s for w, s in zip(weights, streams, strict=True)]).sum(dim=0)
    restored, shortcut = made.restore.conv(fused), made.shortcut(maps())
    normalised = nn.functional.instance_norm
    expected = {
        "none": made.restore.norm(restored) + shortcut,
        "branch": normalised(restored) + shortcut,
        "sum": normalised(made.restore.norm(restored) + shortcut),
    }[instance]
    torch.testing.assert_close(made(maps()), expected.relu(), atol=1e-5, rtol=1e-5)


def test_shortcut_is_a_convolution_only_where_the_channels_change() -> None:
    assert isinstance(block().shortcut, ConvNorm)
    same = OmniScaleBlock(128, 128, depths=(1,), convolution="full", fusion="sum", gate="none", instance="none")
    assert isinstance(same.shortcut, nn.Identity)
