"""The variants by name, what each costs, and the weights that are known. No torch before a model is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING

from omnireid.errors import ModelError
from omnireid.models.osnet_config import OSNetConfig

if TYPE_CHECKING:
    import torch

    from omnireid.models.osnet import OSNet


@dataclass(frozen=True)
class Variant:
    """A named network.

    Attributes:
        name: as the papers and the public checkpoints call it.
        config: its design.
        parameters: learned values, without a classifier.
        multiply_adds: of one 256×128 image.
    """

    name: str
    config: OSNetConfig
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class KnownWeights:
    """Weights that others have trained and published. None of them ships with this package.

    Attributes:
        name: the variant, a dot, the training data.
        architecture: the variant.
        training_data: what the identities were learned from.
        published_rank1: rank-1 on that data set's test split, a fraction; quoted from its authors, not measured here.
        published_mean_average_precision: mAP there, a fraction; quoted likewise.
        published_distance: the distance those two were published with.
        sha256: of the public file, 64 hexadecimal digits; None where no copy was at hand to compute it.
        licence: terms in one line.
    """

    name: str
    architecture: str
    training_data: str
    published_rank1: float
    published_mean_average_precision: float
    published_distance: str
    sha256: str | None
    licence: str


def _by_name(*variants: Variant) -> Mapping[str, Variant]:
    return MappingProxyType({variant.name: variant for variant in variants})


VARIANTS: Mapping[str, Variant] = _by_name(
    Variant("osnet_x1_0", OSNetConfig(width=1.0), 2_169_508, 978_875_392),
    Variant("osnet_x0_75", OSNetConfig(width=0.75), 1_285_754, 571_752_192),
    Variant("osnet_x0_5", OSNetConfig(width=0.5), 630_034, 272_899_328),
    Variant("osnet_x0_25", OSNetConfig(width=0.25), 201_864, 82_314_880),
    Variant("osnet_ibn_x1_0", OSNetConfig(width=1.0, normalisation="ibn"), 2_170_532, 978_875_392),
    Variant("osnet_ain_x1_0", OSNetConfig(width=1.0, normalisation="ain"), 2_169_508, 978_875_392),
    Variant("osnet_ain_x0_75", OSNetConfig(width=0.75, normalisation="ain"), 1_285_754, 571_752_192),
    Variant("osnet_ain_x0_5", OSNetConfig(width=0.5, normalisation="ain"), 630_034, 272_899_328),
    Variant("osnet_ain_x0_25", OSNetConfig(width=0.25, normalisation="ain"), 201_864, 82_314_880),
)

_MARKET_LICENCE = "research-only training data (code MIT)"


def _market(architecture: str, rank1: float, mean_average_precision: float, sha256: str | None = None) -> KnownWeights:
    """Weights of the public zoo trained on Market-1501, scored with the Euclidean distance."""
    name = f"{architecture}.market1501"
    return KnownWeights(
        name, architecture, "Market-1501", rank1, mean_average_precision, "euclidean", sha256, _MARKET_LICENCE
    )


KNOWN_WEIGHTS: Mapping[str, KnownWeights] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            _market("osnet_x1_0", 0.942, 0.826),
            _market("osnet_x0_75", 0.937, 0.812),
            _market("osnet_x0_5", 0.925, 0.798),
            _market("osnet_x0_25", 0.912, 0.750, "c0ff09177a21417a19bc73bbf5af4eb5d2b097c2074ed35e67819ee6cd93612c"),
        )
    }
)


def find_variant(name: str) -> Variant:
    """The variant of that name.

    Raises:
        ModelError: there is none; the message names the closest and all that are known.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    normal = name.strip().lower().replace("-", "_").replace(".", "_")
    closest = get_close_matches(normal, VARIANTS, n=1)
    hint = f" Did you mean {closest[0]}?" if closest else ""
    raise ModelError(f"No model {name!r}.{hint} Known: {', '.join(VARIANTS)}.")


def create_model(name: str, num_classes: int | None = None, *, generator: torch.Generator | None = None) -> OSNet:
    """Build an untrained OSNet by name, in training mode, float32, on the CPU.

    Args:
        name: a key of `VARIANTS`, such as ``osnet_x1_0``.
        num_classes: identities for the ``classifier`` layer, which the forward pass never calls; None for none.
        generator: where the first weights come from; None is a fresh one with seed 0. The global generator is
            never touched.

    Returns:
        A module from (B, 3, H, W) images to (B, 512) embeddings, in training and evaluation alike.

    Raises:
        ModelError: no such name, or `num_classes` below 1.

    >>> create_model("osnet_x0_25").config.width
    0.25
    """
    variant = find_variant(name)
    from omnireid.models.osnet import OSNet

    return OSNet(variant.config, num_classes=num_classes, generator=generator)
