"""``omnireid synthesize-video``: drawn footage of several cameras, with the truth about who is where."""

from __future__ import annotations

from pathlib import Path

import tyro

from omnireid.synthetic.footage_plan import FootagePlan


def synthesize_video(
    output: tyro.conf.Positional[Path],
    *,
    plan: FootagePlan = FootagePlan(),
    picture: Path | None = None,
) -> None:
    """Draw footage of people who walk from camera to camera, free of any privacy question.

    Each camera has a folder in the layout of MOTChallenge: video.mp4, gt/gt.txt with
    identities that hold in every camera, det/det.txt as a detector might report it,
    and seqinfo.ini. cameras.json has the cameras' places and their common clock.
    The same parameters give the same files.

    Example: omnireid synthesize-video footage --cameras 4 --people 12 --seconds 60

    Args:
        output: Folder to create. One that exists already is refused.
        plan: What is drawn.
        picture: Also write an animated .webp file of the liveliest seconds, with a box in each person's colour.
    """
    from omnireid.synthetic.footage import CAMERAS_FILE
    from omnireid.synthetic.footage import synthesize_video as draw

    truths = draw(output, plan, picture=picture, progress=True)
    boxes = sum(len(truth) for truth in truths.values())
    seen = {name: len(set(truth.identities.tolist())) for name, truth in truths.items()}
    print(
        f"{output}: {plan.cameras} cameras, {plan.frames:,} frames each, {boxes:,} boxes; places are in {CAMERAS_FILE}"
    )
    print("people seen: " + ", ".join(f"{count} by {name}" for name, count in seen.items()))
    if picture is not None:
        print(f"{picture}: the liveliest seconds ({picture.stat().st_size / 1e6:.1f} MB)")
