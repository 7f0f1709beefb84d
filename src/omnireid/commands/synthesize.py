"""``omnireid synthesize``: drawn pedestrians to try things on."""

from __future__ import annotations

from pathlib import Path

import tyro

from omnireid.synthetic.plan import Plan


def synthesize(
    output: tyro.conf.Positional[Path],
    *,
    plan: Plan = Plan(),
    workers: int | None = None,
    sheet: Path | None = None,
) -> None:
    """Draw a data set of pedestrians in Market-1501's layout, free of any privacy question.

    Half of the people train (odd ids) and half test. The same parameters give the
    same files; a folder that already holds them is left as it is.

    Example: omnireid synthesize drawn --identities 100 --cue fine --sheet drawn.png

    Args:
        output: Folder to create.
        plan: What is drawn.
        workers: Number of drawing processes. By default as many as pay off, at most one per core.
        sheet: Also write a contact sheet (.png or .jpg) with a row for each of six people and a column per camera.
    """
    import json

    from omnireid.data.synthetic_marker import MARKER
    from omnireid.files import check_output
    from omnireid.synthetic.dataset import draw_sheet
    from omnireid.synthetic.dataset import synthesize as draw
    from omnireid.synthetic.sheet import check_sheet_name

    if sheet is not None:
        check_sheet_name(sheet)
        check_output(sheet, inputs=output.rglob("*.jpg"))
    root = draw(
        output,
        identities=plan.identities,
        cameras=plan.cameras,
        per_camera=plan.per_camera,
        distractors=plan.distractors,
        seed=plan.seed,
        cue=plan.cue,
        difficulty=plan.difficulty,
        height=plan.height,
        workers=workers,
        progress=True,
    )
    counts = json.loads((root / MARKER).read_text(encoding="utf-8"))["crops"]
    parts = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    people = f"{plan.identities:,} people by {plan.cameras} cameras"
    print(f"{root}: {sum(counts.values()):,} drawn crops of {people} ({parts})")
    if sheet is not None:
        print(f"{draw_sheet(root, sheet)}: a sheet of some of them, with a row per person and a column per camera")
    protocol = " --protocol no-cameras" if plan.cameras == 1 else ""
    print(f"Next: omnireid evaluate --weights WEIGHTS --data {root}{protocol}")
