"""``omnireid track-score``: how well tracks agree with ground truth."""

from __future__ import annotations

from pathlib import Path

import tyro

from omnireid.commands.options import JsonOption, check_json, leave_json, text_stream


def track_score(
    tracks: tyro.conf.Positional[Path],
    *,
    truth: Path,
    across_cameras: bool = False,
    json: JsonOption = None,
) -> None:
    """Score tracks against ground truth: HOTA, MOTA, IDF1 and identity switches, by trackeval.

    Both sides are MOTChallenge text. For several sequences, TRUTH is a folder of
    sequences (NAME/gt/gt.txt) and TRACKS a folder with NAME.txt for each of them.

    Example: omnireid track-score tracks --truth footage --across-cameras

    Args:
        tracks: File of tracks, or a folder with a file NAME.txt for each sequence.
        truth: Ground truth: a gt.txt, the folder of a sequence, or a folder of sequences.
        across_cameras: Also score all sequences as one: an identity must be the same person in every camera.
    """
    import sys

    from omnireid.tracking.mot_files import read_tracks
    from omnireid.tracking.score_files import find_pairs
    from omnireid.tracking.scoring import score_tracks

    pairs = find_pairs(tracks, truth)
    check_json(json, inputs=[file for pair in pairs.values() for file in pair])
    truths = {name: read_tracks(gt) for name, (gt, _) in pairs.items()}
    results = {name: read_tracks(found) for name, (_, found) in pairs.items()}
    for note in [note for table in (*truths.values(), *results.values()) for note in table.notes]:
        print(f"note: {note}", file=sys.stderr)
    evaluation = score_tracks(truths, results, across_cameras=across_cameras)
    print(evaluation.table(), file=text_stream(json))
    leave_json(json, evaluation.json())
