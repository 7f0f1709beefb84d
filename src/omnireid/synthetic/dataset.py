"""Data sets of drawn pedestrians in Market-1501's layout, free of any privacy question."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from omnireid.data.attribute_list import ATTRIBUTES_FILE
from omnireid.data.synthetic_marker import MARKER, MARKER_KEY
from omnireid.errors import DataNotFoundError, IncompleteDatasetError, OutputError, SettingError, StoppedError
from omnireid.files import output_errors, sole_writer, write_json
from omnireid.progress import progress_bar
from omnireid.synthetic.attributes import write_attributes
from omnireid.synthetic.pedestrian import Cue
from omnireid.synthetic.plan import FOLDERS, Plan, PlannedCrop, count_splits, draw_planned, planned_crops
from omnireid.synthetic.sheet import write_sheet
from omnireid.synthetic.worker import draw_in_processes, suggest_workers

FORMAT = 1
"""Version of the drawing code, kept in `MARKER` under `MARKER_KEY`. A set of another version is not taken over."""

_MOVING = ".synthetic-unfinished"

_FILES = (ATTRIBUTES_FILE, MARKER)


def synthesize(
    output: str | Path,
    *,
    identities: int = 100,
    cameras: int = 6,
    per_camera: int = 4,
    distractors: int = 0,
    seed: int = 0,
    cue: Cue = "mixed",
    difficulty: float = 0.5,
    height: int = 128,
    workers: int | None = None,
    progress: bool = False,
) -> Path:
    """Draw a data set of pedestrians, with identities x cameras x per_camera crops.

    People with odd ids train, people with even ids test. The first crop of each
    test person and camera is a query; the others are gallery. With a single crop
    per camera, odd cameras hold the queries and even cameras the gallery. With a
    single camera, every true match is in the query's own camera, so the set must be
    evaluated without cameras.

    On one machine, with one version of Pillow and NumPy, the same parameters give
    the same bytes, whatever the number of workers. A larger set contains the smaller
    one: more identities, cameras or crops leave the first ones unchanged. The
    exception is a single crop per camera, which has its own rule.

    Args:
        output: The folder to create. A folder that already holds the same set is left as it is.
        identities: see `Plan`, which describes this and the following values.
        cameras: see `Plan`.
        per_camera: see `Plan`.
        distractors: see `Plan`.
        seed: see `Plan`.
        cue: see `Plan`.
        difficulty: see `Plan`.
        height: see `Plan`.
        workers: Number of drawing processes. None takes as many as pay off, at most one per core.
        progress: Whether to show a bar on standard error.

    Returns:
        The folder. Besides Market-1501's three folders it holds `MARKER` and the attributes of its people,
        ``attributes.csv``, which `omnireid.read_attributes` reads.

    Raises:
        SettingError: a parameter is out of range.
        OutputError: the folder holds something else, or cannot be written; nothing half-drawn is left.
        StoppedError: the user pressed Ctrl-C; nothing is left.
    """
    plan = Plan(identities, cameras, per_camera, distractors, seed, cue, float(difficulty), height)
    if workers is not None and workers < 1:
        raise SettingError(f"workers must be 1 or more; got {workers}. Leave it out to let omnireid choose.")
    root = Path(output)
    crops = planned_crops(plan)
    with sole_writer(root.absolute()):
        with output_errors(root):
            _clear_unfinished(root)
        if not _already_holds(root, plan, crops):
            _draw_into(root, plan, crops, suggest_workers(len(crops)) if workers is None else workers, progress)
        elif not (root / ATTRIBUTES_FILE).is_file():  # drawn before attributes were written
            write_attributes(root / ATTRIBUTES_FILE, plan)
    return root


def draw_sheet(root: str | Path, sheet: str | Path, *, people: int = 6) -> Path:
    """Draw a contact sheet of a synthetic set, with a row for each of its first people and a column for each camera.

    Args:
        root: A folder that `synthesize` has written.
        sheet: The .png or .jpg file to write.
        people: Maximum number of rows.

    Returns:
        The path of the sheet.

    Raises:
        DataNotFoundError: `root` is no synthetic set.
        OutputError: the sheet cannot be written.
    """
    root, sheet = Path(root), Path(sheet)
    plan = _read_plan(root)
    if plan is None:
        raise DataNotFoundError(
            f"{root} is no synthetic data set: it has no readable {MARKER}. Draw one: omnireid synthesize {root}"
        )
    crops = [crop for crop in planned_crops(plan) if crop.image == 0 and 0 < crop.person_id <= people]
    missing = _missing_files(root, crops)
    if missing:
        raise IncompleteDatasetError(f"{missing[0]} is missing. Delete {root} and draw the set again.")
    shown = range(1, min(people, plan.identities) + 1)
    write_sheet([[root / crop.path for crop in crops if crop.person_id == person] for person in shown], sheet)
    return sheet


def _read_plan(root: Path) -> Plan | None:
    """The parameters of the synthetic set in `root`; None if there is no set, or one of another version."""
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
        if marker.pop(MARKER_KEY) != FORMAT:
            return None
        return Plan(**{field.name: marker[field.name] for field in fields(Plan)})
    except (OSError, ValueError, TypeError, AttributeError, KeyError, SettingError):
        return None


def _missing_files(root: Path, crops: Sequence[PlannedCrop]) -> list[Path]:
    """The files of `crops` that are missing or empty."""
    paths = (root / crop.path for crop in crops)
    return [path for path in paths if not path.is_file() or not path.stat().st_size]


def _already_holds(root: Path, plan: Plan, crops: Sequence[PlannedCrop]) -> bool:
    """Whether `root` already holds exactly this set; False if it does not exist or is empty.

    Raises:
        OutputError: it holds anything else.
    """
    with output_errors(root):
        if not root.exists() or (root.is_dir() and not any(root.iterdir())):
            return False
    advice = "Choose another output, or delete this one first."
    if not root.is_dir():
        raise OutputError(f"Cannot draw into {root}: it is a file. {advice}")
    found = _read_plan(root)
    if found is None:
        raise OutputError(f"Cannot draw into {root}: it is not empty and holds no synthetic set. {advice}")
    wanted = plan.parameters
    others = [
        f"{name}={value} (not {wanted[name]})" for name, value in found.parameters.items() if value != wanted[name]
    ]
    if others:
        raise OutputError(f"Cannot draw into {root}: it holds a synthetic set with {', '.join(others)}. {advice}")
    missing = _missing_files(root, crops)
    if missing:
        raise OutputError(
            f"{root} holds this very set, but {len(missing)} of its {len(crops)} crops are missing or empty, "
            f"the first of them {missing[0]}. {advice}"
        )
    return True


def _draw_into(root: Path, plan: Plan, crops: Sequence[PlannedCrop], workers: int, progress: bool) -> None:
    """Draw into a temporary folder beside `root`, and rename it when it is complete."""
    partial = root.absolute().with_name(f".{root.absolute().name}.partial")
    try:
        with output_errors(root):
            if partial.exists():
                shutil.rmtree(partial)  # left by a killed run; the lock proves that nobody is writing it
            for folder in FOLDERS.values():
                (partial / folder).mkdir(parents=True)
            with progress_bar("draw", len(crops), show=progress) as advance:
                if workers == 1:
                    draw_planned(plan, crops, partial, advance)
                else:
                    draw_in_processes(plan, partial, workers, advance)
            write_attributes(partial / ATTRIBUTES_FILE, plan)
            marker = {MARKER_KEY: FORMAT, **plan.parameters, "crops": count_splits(crops)}
            write_json(partial / MARKER, marker)
            _move_into_place(partial, root)
    except KeyboardInterrupt:
        raise StoppedError(f"Stopped; nothing is left of {root}. Run the same command to draw it again.") from None
    finally:
        with suppress(OSError):
            _clear_unfinished(root)
        shutil.rmtree(partial, ignore_errors=True)


def _move_into_place(partial: Path, root: Path) -> None:
    """Move `partial` to `root`, which is missing or empty."""
    if not root.exists():
        partial.rename(root)
        return
    # An empty folder may be a mount point or somebody's working folder, so it is filled and not replaced. If the
    # process is killed in between, the sign tells the next run that the remains are its own.
    sign = root / _MOVING
    sign.touch()
    for name in (*FOLDERS.values(), *_FILES):
        shutil.move(partial / name, root / name)
    sign.unlink()


def _clear_unfinished(root: Path) -> None:
    """Remove a half-moved set from `root`. If anything else is there too, nothing is touched."""
    sign = root / _MOVING
    if not sign.is_file() or not {path.name for path in root.iterdir()} <= {*FOLDERS.values(), *_FILES, _MOVING}:
        return
    for name in FOLDERS.values():
        if (root / name).is_dir():
            shutil.rmtree(root / name)
    for name in _FILES:
        (root / name).unlink(missing_ok=True)
    sign.unlink()
