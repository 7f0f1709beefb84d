"""The tables that omnireid can make, with the published values beside them.

The published values are those of Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019,
unless a table says otherwise. They are quoted, and were not measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

from omnireid.errors import SettingError
from omnireid.experiments.table import ExperimentTable, Published, Row
from omnireid.synthetic.pedestrian import CUES
from omnireid.training.named_recipes import SPEEDRUN
from omnireid.training.recipes import Recipe

# What every row of a table has in common, unless the row's change says otherwise: the recipe `speedrun` at one small
# input size, so that a row of osnet_x0_25 takes two CPU cores less than an hour on Market-1501. It is not the paper's
# recipe, whose 350 epochs at 256×128 no two cores can afford for eleven rows.
# Command: omnireid experiment ablation --data Market-1501-v15.09.15 --output runs/ablation --seeds 0 1
# Cost: omnireid experiment ablation --data Market-1501-v15.09.15 --output runs/ablation --seeds 0 1 --dry-run
EXPERIMENT_RECIPE: Recipe = replace(
    SPEEDRUN,
    model="osnet_x0_25",
    epochs=40,
    resolutions=("128x64@0",),
    warmup_epochs="3/40",
    precision="fp32",
)

_ICCV = 'Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019'

ABLATION = ExperimentTable(
    name="ablation",
    version=1,
    question="What do the parts of OSNet's block contribute: streams, their depths, and how they are fused?",
    rows=(
        Row("unified-gate", published=Published(93.6, 81.0)),
        Row("full-convolutions", "osnet_{width}_full_convolutions", published=Published(94.0, 82.7)),
        Row("same-depth", "osnet_{width}_same_depth", published=Published(91.7, 77.9)),
        Row("concatenation", "osnet_{width}_concatenation", published=Published(91.4, 77.4)),
        Row("addition", "osnet_{width}_addition", published=Published(92.0, 78.2)),
        Row("separate-gates", "osnet_{width}_separate_gates", published=Published(92.9, 80.2)),
        Row("stream-weights", "osnet_{width}_stream_weights", published=Published(92.6, 80.0)),
        Row("fixed-gates", "osnet_{width}_fixed_gates", published=Published(91.6, 77.5)),
        Row("one-stream", "osnet_{width}_one_stream", published=Published(86.5, 67.7)),
        Row("two-streams", "osnet_{width}_two_streams", published=Published(91.7, 77.0)),
        Row("three-streams", "osnet_{width}_three_streams", published=Published(92.8, 79.9)),
    ),
    source=_ICCV,
    published_for="Market-1501, OSNet x1.0 at 256×128 from random weights, 350 epochs",
)

_MOBILENETV2 = Published(87.0, 69.5, note="width not stated")

BASELINES = ExperimentTable(
    name="baselines",
    version=1,
    question="With the same recipe, is OSNet more accurate than the networks it was compared with, and at what cost?",
    rows=(
        Row("osnet-x1.0", "osnet_x1_0", published=Published(93.6, 81.0)),
        Row("osnet-x0.25", "osnet_x0_25"),
        Row("resnet50-fc512", "resnet50_fc512"),
        Row("mobilenetv2-x1.0", "mobilenetv2_x1_0", published=_MOBILENETV2),
        Row("mobilenetv2-x1.4", "mobilenetv2_x1_4", published=_MOBILENETV2),
        Row("shufflenet-g3", "shufflenet_g3", published=Published(84.8, 65.0, note="groups not stated")),
    ),
    source=_ICCV,
    published_for="Market-1501, 256×128, random weights",
    compares_costs=True,
)

_WIDTHS = ("x1_0", "x0_75", "x0_5", "x0_25")
_SIZES = ("256x128", "192x96", "128x64", "64x32")
_PUBLISHED_CELLS: Mapping[tuple[str, str], Published] = MappingProxyType(
    {
        ("x1_0", "256x128"): Published(94.8, 84.9, 978.9),
        ("x0_75", "256x128"): Published(94.5, 84.1, 571.8),
        ("x0_5", "256x128"): Published(93.4, 82.6, 272.9),
        ("x0_25", "256x128"): Published(92.2, 77.8, 82.3),
        ("x1_0", "192x96"): Published(94.4, 83.7, 550.7),
        ("x1_0", "128x64"): Published(92.0, 80.3, 244.9),
        ("x1_0", "64x32"): Published(86.9, 67.3, 61.5),
        ("x0_25", "128x64"): Published(88.7, 71.8, 20.6),
        ("x0_25", "64x32"): Published(79.1, 56.0, 5.2),
    }
)

WIDTH_RESOLUTION = ExperimentTable(
    name="width-resolution",
    version=1,
    question="What do narrower networks and smaller crops cost in accuracy, and save in multiply-adds?",
    rows=tuple(
        Row(
            f"{width.replace('_', '.')}-{size}",
            f"osnet_{width}",
            {"resolutions": (f"{size}@0",)},
            published=_PUBLISHED_CELLS.get((width, size)),
            is_trained=(width, size) in _PUBLISHED_CELLS,
        )
        for width in _WIDTHS
        for size in _SIZES
    ),
    source=_ICCV,
    published_for="Market-1501, fine-tuned from ImageNet weights",
    compares_costs=True,
)

CUE_STREAMS = ExperimentTable(
    name="cues",
    version=1,
    question="On drawn people who differ at one scale only: do four streams help where the paper says they must?",
    rows=tuple(
        row
        for cue in CUES
        for row in (
            Row(f"{cue}-one-stream", "osnet_{width}_one_stream", against=f"{cue}-one-stream", cue=cue),
            Row(f"{cue}-four-streams", against=f"{cue}-one-stream", cue=cue),
        )
    ),
)

PRETRAINING = ExperimentTable(
    name="pretraining",
    version=1,
    question="At an equal budget: is it better to start from random weights, or from those of an image classifier?",
    rows=(
        Row("scratch", published=Published(93.6, 81.0)),
        Row("classifier", starts_from_weights=True, published=Published(94.8, 84.9)),
    ),
    source=_ICCV,
    published_for="Market-1501, OSNet x1.0 at 256×128, random weights and ImageNet weights, each with its own recipe",
)

CROSS_DOMAIN = ExperimentTable(
    name="cross-domain",
    version=1,
    question="Do instance norms (IBN, AIN) help on cameras that the network never saw?",
    rows=(
        Row("plain"),
        Row("ibn", "osnet_ibn_{width}"),
        Row("ain", "osnet_ain_{width}"),
    ),
    needs_other_data=True,
)

TABLES: Mapping[str, ExperimentTable] = MappingProxyType(
    {table.name: table for table in (ABLATION, BASELINES, WIDTH_RESOLUTION, CUE_STREAMS, PRETRAINING, CROSS_DOMAIN)}
)
"""Every table by its name on the command line."""


def find_table(name: str) -> ExperimentTable:
    """Look up a table by name.

    Raises:
        SettingError: There is none; the message names the closest one and all that are known.
    """
    if name in TABLES:
        return TABLES[name]
    close = get_close_matches(name, TABLES, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise SettingError(f"No experiment {name!r}.{hint} Known: {', '.join(TABLES)}.")
