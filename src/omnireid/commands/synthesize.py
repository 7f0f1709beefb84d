"""``omnireid synthesize``: drawn pedestrians to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from omnireid.commands.options import OptionalNumber, OptionalPath


def synthesize(
    output: tyro.conf.Positional[Path],
    *,
    identities: int = 100,
    cameras: int = 6,
    per_camera: int = 4,
    distractors: int = 0,
    seed: int = 0,
    cue: Literal["fine", "middle", "global", "mixed"] = "mixed",
    difficulty: float = 0.5,
    height: int = 128,
    workers: OptionalNumber = None,
    sheet: OptionalPath = None,
) -> None:
    """Draw a data set of pedestrians in Market-1501's layout, without any privacy question.

    Half of the people train (odd ids), half of them test. The same parameters give the same files; a folder
    that already holds them is left as it is.

    Example: omnireid synthesize drawn --identities 100 --cue fine --sheet drawn.png

    Args:
        output: folder to create.
        identities: people, 2 to 9,999; no two look the same.
        cameras: cameras, 1 to 99, each with its own view, colours, sharpness and place.
        per_camera: crops of each person by each camera, 1 to 99.
        distractors: further gallery crops by each camera with person id 0: people cut through, and nobody.
        seed: 0 or above; another seed gives other people, cameras and places.
        cue: what tells people apart: fine (logo, shoes, trim), middle (hair, hat, pattern, bag),
            global (body, skin, garments and their colours) or mixed (all of them).
        difficulty: 0 to 1; how far cameras differ and how much pose, framing, view and occlusion vary.
        height: rows of a crop, even; it is half as wide.
        workers: processes that draw; by default what pays, at most one a core.
        sheet: also write a contact sheet (.png or .jpg): a row for each of six people, a column for each camera.
    """
    import json

    from omnireid.data.synthetic_marker import MARKER
    from omnireid.synthetic.dataset import draw_sheet
    from omnireid.synthetic.dataset import synthesize as draw
    from omnireid.synthetic.sheet import check_sheet_name

    if sheet is not None:
        check_sheet_name(sheet)
    root = draw(
        output,
        identities=identities,
        cameras=cameras,
        per_camera=per_camera,
        distractors=distractors,
        seed=seed,
        cue=cue,
        difficulty=difficulty,
        height=height,
        workers=workers,
        progress=True,
    )
    counts = json.loads((root / MARKER).read_text(encoding="utf-8"))["crops"]
    parts = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    print(f"{root}: {sum(counts.values()):,} drawn crops of {identities:,} people by {cameras} cameras ({parts})")
    if sheet is not None:
        print(f"{draw_sheet(root, sheet)}: some of them, a row a person and a column a camera")
    protocol = " --protocol no-cameras" if cameras == 1 else ""
    print(f"Next: omnireid evaluate --weights WEIGHTS --data {root}{protocol}")
