"""The networks by name. Nothing here needs torch before a network is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from omnireid.errors import ModelError
from omnireid.images.preprocess import Preprocessing
from omnireid.models.baseline_keys import (
    timm_mobilenetv2_name,
    torchreid_resnet_name,
    torchreid_shufflenet_name,
    torchvision_mobilenetv2_name,
    torchvision_resnet_name,
)
from omnireid.models.baselines import design_mobilenetv2, design_resnet50, design_shufflenet
from omnireid.models.checkpoint_keys import KeyLayout, make_key_layout
from omnireid.models.layer_plan import PlannedLayer, count_planned_parameters
from omnireid.models.observed_tensors import ObservedTensors
from omnireid.models.osnet_config import ABLATIONS, EMBEDDING_WIDTH, OSNetConfig
from omnireid.models.osnet_graph import build_osnet_graph, name_observed_tensors
from omnireid.models.osnet_keys import published_name
from omnireid.models.osnet_plan import plan_osnet
from omnireid.models.residual_design import ResidualDesign
from omnireid.models.residual_graph import build_residual_graph, name_observed_maps
from omnireid.models.residual_plan import plan_residual_network

if TYPE_CHECKING:
    import onnx
    import torch

    from omnireid.models.backbone import Backbone


class BuildGraph(Protocol):
    """Writes a network as an ONNX graph from its tensors alone; see `omnireid.models.osnet_graph.build_osnet_graph`."""

    def __call__(
        self,
        tensors: Mapping[str, npt.NDArray[np.generic]],
        preprocessing: Preprocessing,
        *,
        half: bool = False,
        takes_pixels: bool = True,
        where: str = "the weights",
    ) -> onnx.ModelProto:
        """Write the graph."""
        ...


@dataclass(frozen=True, eq=False)
class Architecture:
    """A network by name: how to build it, what its checkpoints hold and what it costs.

    Attributes:
        name: What users, artefacts and recipes call it, such as ``osnet_x0_25``.
        build: Builds it untrained in torch, from the number of classes (or None) and a CPU generator (or None).
        embedding_width: Values in an embedding.
        build_graph: Writes it as an ONNX graph, without torch.
        plan: Lists its layers with their shapes and costs, without torch.
        publishers: Publisher of checkpoints to what translates a key of its state into the publisher's name for it;
            empty where nobody has published any.
        source: The paper it comes from.
        ablation_of: Name of the network it varies for an ablation study; None for a network in its own right.
        observed: Tensors of its graph from which an embedding can be explained; None where nobody has named them.
    """

    name: str
    build: Callable[[int | None, torch.Generator | None], Backbone] = field(repr=False)
    embedding_width: int
    build_graph: BuildGraph = field(repr=False)
    plan: Callable[[], Iterable[PlannedLayer]] = field(repr=False)
    publishers: Mapping[str, Callable[[str], str]] = field(repr=False)
    source: str
    ablation_of: str | None = None
    observed: ObservedTensors | None = None

    @cached_property
    def parameters(self) -> int:
        """Learned values, without a classifier."""
        return count_planned_parameters(self.plan())

    @cached_property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image of 256×128, counted as `omnireid.models.complexity` does."""
        return sum(layer.multiply_adds for layer in self.plan())

    @cached_property
    def key_layout(self) -> KeyLayout:
        """Keys and shapes of its state, and their published names."""
        return make_key_layout(self.plan(), self.publishers)


_WIDTHS = {"x1_0": 1.0, "x0_75": 0.75, "x0_5": 0.5, "x0_25": 0.25}
_OSNET = 'Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019'
_OSNET_AIN = 'Zhou et al., "Learning Generalisable Omni-Scale Representations for Person Re-Identification", TPAMI 2021'
_OSNET_RETAIL = (
    f"{_OSNET}; as the Open Model Zoo's person-reidentification-retail networks: an instance norm in conv1, a linear "
    "context transform (Ruan et al., AAAI 2020) as every second gate, and an average with a weight for each place"
)
_RESNET = 'He et al., "Deep Residual Learning for Image Recognition", CVPR 2016'
_MOBILENETV2 = 'Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018'
_SHUFFLENET = (
    'Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices", CVPR 2018'
)


def _build_osnet(config: OSNetConfig, num_classes: int | None, generator: torch.Generator | None) -> Backbone:
    from omnireid.models.osnet import OSNet

    return OSNet(config, num_classes=num_classes, generator=generator)


def _osnet(name: str, config: OSNetConfig, source: str, *, ablation_of: str | None = None) -> Architecture:
    return Architecture(
        name=name,
        build=partial(_build_osnet, config),
        embedding_width=config.embedding_width,
        build_graph=partial(build_osnet_graph, config),
        plan=partial(plan_osnet, config),
        publishers={}
        if ablation_of or config.normalisation == "stem"
        else {"torchreid": partial(published_name, config=config)},
        source=source,
        ablation_of=ablation_of,
        observed=name_observed_tensors(config),
    )


def _list_osnets() -> Iterator[Architecture]:
    """The published OSNets, then every row of the paper's ablation table at every width.

    The table's first row, "primary", is the plain OSNet. OSNet-IBN was published at one width; the others are there to
    be compared with the plain and AIN networks of their width.
    """
    for width, value in _WIDTHS.items():
        yield _osnet(f"osnet_{width}", OSNetConfig(width=value), _OSNET)
    yield _osnet("osnet_ibn_x1_0", OSNetConfig(normalisation="ibn"), _OSNET)
    for width, value in _WIDTHS.items():
        yield _osnet(f"osnet_ain_{width}", OSNetConfig(width=value, normalisation="ain"), _OSNET_AIN)
    for width, value in _WIDTHS.items():
        retail = OSNetConfig(width=value, normalisation="stem", second_gate="context", head="weighted")
        yield _osnet(f"osnet_retail_{width}", retail, _OSNET_RETAIL)
    for width, value in _WIDTHS.items():
        for row, design in ABLATIONS.items():
            if row != "primary":
                plain = f"osnet_{width}"
                yield _osnet(f"{plain}_{row}", replace(design, width=value), _OSNET, ablation_of=plain)
    for width, value in _WIDTHS.items():
        if width != "x1_0":
            narrow = OSNetConfig(width=value, normalisation="ibn")
            yield _osnet(f"osnet_ibn_{width}", narrow, _OSNET, ablation_of="osnet_ibn_x1_0")


def _build_residual_network(
    design: ResidualDesign, num_classes: int | None, generator: torch.Generator | None
) -> Backbone:
    from omnireid.models.residual_network import ResidualNetwork

    return ResidualNetwork(design, num_classes=num_classes, generator=generator)


def _residual(
    name: str, design: ResidualDesign, publishers: Mapping[str, Callable[[str], str]], source: str
) -> Architecture:
    return Architecture(
        name=name,
        build=partial(_build_residual_network, design),
        embedding_width=design.embedding_width,
        build_graph=partial(build_residual_graph, design),
        plan=partial(plan_residual_network, design),
        publishers=publishers,
        source=source,
        observed=name_observed_maps(design),
    )


def _list_baselines() -> Iterator[Architecture]:
    """The networks that OSNet is compared with; see `omnireid.models.baselines`."""
    yield _residual(
        "resnet50",
        design_resnet50(),
        {"torchvision": torchvision_resnet_name},  # timm's names are the same
        _RESNET,
    )
    yield _residual(
        "resnet50_fc512",
        design_resnet50(last_stride=1, neck=EMBEDDING_WIDTH),
        {"torchreid": torchreid_resnet_name},
        f"{_RESNET}; last stride 1 and a layer to 512 values, as the field builds it for re-identification",
    )
    for name, width in (("mobilenetv2_x1_0", 1.0), ("mobilenetv2_x1_4", 1.4)):
        design = design_mobilenetv2(width)
        yield _residual(
            name,
            design,
            {
                "torchvision": partial(torchvision_mobilenetv2_name, design=design),
                "timm": partial(timm_mobilenetv2_name, design=design),
            },
            _MOBILENETV2,
        )
    yield _residual("shufflenet_g3", design_shufflenet(), {"torchreid": torchreid_shufflenet_name}, _SHUFFLENET)


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {architecture.name: architecture for architecture in (*_list_osnets(), *_list_baselines())}
)
"""Every network that can be named."""


def find_architecture(name: str) -> Architecture:
    """Look up a network by name.

    Raises:
        ModelError: There is none. The message names the closest one and all that are known.
    """
    if not isinstance(name, str):
        raise ModelError(f"An architecture is named by text, such as 'osnet_x0_25'; got {name!r}.")
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    normal = name.strip().lower().replace("-", "_").replace(".", "_")
    closest = get_close_matches(normal, ARCHITECTURES, n=1)
    hint = f" Did you mean {closest[0]}?" if closest else ""
    known = [architecture.name for architecture in ARCHITECTURES.values() if architecture.ablation_of is None]
    raise ModelError(
        f"No model {name!r}.{hint} Known: {', '.join(known)}; and ablations such as osnet_x0_25_two_streams, which "
        "'omnireid models' lists."
    )


def create_model(name: str, num_classes: int | None = None, *, generator: torch.Generator | None = None) -> Backbone:
    """Build an untrained network by name, in training mode, float32, on the CPU.

    Args:
        name: A key of `ARCHITECTURES`, such as ``osnet_x1_0``.
        num_classes: Number of identities for the ``classifier`` layer, which the forward pass never calls; None for
            no classifier.
        generator: Source of the first weights, a CPU generator. None is a fresh one with seed 0. The global
            generator is never touched.

    Returns:
        A module from (B, 3, H, W) images to (B, D) embeddings, in training and evaluation alike; D is its
        ``embedding_width``, 512 for every OSNet.

    Raises:
        ModelError: No such name, or `num_classes` is below 1.

    >>> create_model("osnet_x0_25").embedding_width
    512
    """
    return find_architecture(name).build(num_classes, generator)
