"""Examining a data set for whatever would make its numbers wrong."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from omnireid.data.crop_files import examine_files
from omnireid.data.datasets import LAYOUTS
from omnireid.data.examination import EXAMPLES, Examination, Finding, SplitCounts, shown_path
from omnireid.data.layout import count_differences
from omnireid.data.matches import find_matches
from omnireid.errors import NoTrueMatchError, list_briefly
from omnireid.terms import Protocol
from omnireid.types import Dataset, IntArray, Split


def examine_dataset(dataset: Dataset, *, decode: bool = True, progress: bool = False) -> Examination:
    """Look through a data set for whatever would make its numbers wrong.

    Args:
        dataset: The data set, from `load_dataset`.
        decode: Whether to read every file too, to find unreadable, duplicate and odd-sized crops.
        progress: Whether to show a bar while the files are read.

    Returns:
        Counts and findings. Nothing is raised for what is found: see `Examination.usable`.
    """
    findings = [
        *_check_published_counts(dataset),
        *_check_gallery_identities(dataset),
        *_check_identities(dataset),
        *_check_queries(dataset),
        *_report_notes(dataset),
    ]
    if decode:
        findings += examine_files(dataset, progress=progress)
    order = ("error", "warning", "note")
    return Examination(
        dataset=dataset.name,
        layout=dataset.layout,
        root=str(dataset.root),
        protocol=dataset.protocol,
        licence=dataset.licence,
        split_index=dataset.split_index,
        split_count=dataset.split_count,
        splits=tuple(_count_split(name, split) for name, split in dataset.splits.items()),
        decoded=decode,
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
    )


def has_true_match(query: Split, gallery: Split, protocol: Protocol) -> npt.NDArray[np.bool_]:
    """(Q,) whether the gallery holds a true match of each query.

    If cameras are known and count under the protocol, a match must come from another camera.
    """
    found = np.zeros(len(query), dtype=bool)
    known = query.camera_ids is not None and gallery.camera_ids is not None
    with suppress(NoTrueMatchError):
        matches = find_matches(query.labels, gallery.labels, use_cameras=known and protocol != "no-cameras")
        found[matches.queries] = True
    return found


def _count_split(name: str, split: Split) -> SplitCounts:
    by_camera = None
    if split.camera_ids is not None:
        cameras, images = np.unique(split.camera_ids, return_counts=True)
        by_camera = dict(zip(cameras.tolist(), images.tolist(), strict=True))
    return SplitCounts(name, len(split), len(np.unique(split.person_ids)), by_camera)


def _check_published_counts(dataset: Dataset) -> list[Finding]:
    differences = count_differences(dataset, LAYOUTS[dataset.layout])
    if not differences:
        return []
    return [
        Finding(
            "published-counts",
            "warning",
            len(differences),
            "The counts are not the published ones.",
            differences,
            "Unpack the archive again and remove files that are not part of it; give data of your own another layout.",
        )
    ]


def _check_gallery_identities(dataset: Dataset) -> list[Finding]:
    """Find a gallery with fewer than two identities, in which every answer to a query is right."""
    if not len(dataset.gallery) or len(np.unique(dataset.gallery.person_ids)) > 1:
        return []
    summary = "The gallery holds one identity only, so every answer is right and the scores mean nothing."
    advice = "Add crops of other people, or check that folders and ids name people."
    return [Finding("few-identities", "warning", len(dataset.gallery), summary, (), advice)]


def _report_notes(dataset: Dataset) -> list[Finding]:
    reported = set(count_differences(dataset, LAYOUTS[dataset.layout]))
    notes = [note for note in dataset.notes if note not in reported]
    findings = [
        Finding("note", "note", 0, note, (), "Mention this where you report numbers on this data.") for note in notes
    ]
    if dataset.protocol == "no-cameras":
        advice = (
            "Add camera ids where you can: finding a person again in the same camera is easier than re-identification."
        )
        findings.append(
            Finding("no-cameras", "note", 0, "Camera ids are not known, so no match is skipped.", (), advice)
        )
    return findings


def _person_ids_in(dataset: Dataset, names: Sequence[str]) -> IntArray:
    parts = [split.person_ids for name, split in dataset.splits.items() if name in names]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def _check_identities(dataset: Dataset) -> list[Finding]:
    findings = []
    shared = np.intersect1d(_person_ids_in(dataset, ("train",)), _person_ids_in(dataset, ("query", "gallery")))
    if len(shared) and not LAYOUTS[dataset.layout].people_numbered_apart:
        findings.append(
            Finding(
                "people-in-train-and-test",
                "warning",
                len(shared),
                f"{len(shared):,} identities are both in train and in test, so the scores will flatter the model.",
                tuple(f"person {person}" for person in shared[:EXAMPLES]),
                "Move all crops of each identity to one side. Data without a split of its own is split that way.",
            )
        )
    for name, split in dataset.splits.items():
        if name in ("train", "gallery") and split.camera_ids is not None:
            findings += _check_single_camera(name, split, dataset)
    _, counts = np.unique(dataset.train.person_ids, return_counts=True)
    alone = np.unique(dataset.train.person_ids)[counts == 1]
    if len(alone):
        findings.append(
            Finding(
                "single-crop",
                "note",
                len(alone),
                f"{len(alone):,} training identities have one crop only: metric losses learn nothing from them.",
                tuple(f"person {person}" for person in alone[:EXAMPLES]),
                "Add crops of them, or leave them out of training.",
            )
        )
    return findings


def _check_single_camera(name: str, split: Split, dataset: Dataset) -> list[Finding]:
    """Find identities seen by one camera only. For the gallery, people with queries are checked, queries included."""
    people, cameras = split.person_ids, split.camera_ids
    assert cameras is not None
    if name == "gallery" and dataset.query.camera_ids is not None:
        searched = np.isin(people, dataset.query.person_ids)
        people = np.concatenate([people[searched], dataset.query.person_ids])
        cameras = np.concatenate([cameras[searched], dataset.query.camera_ids])
    pairs = np.unique(np.stack([people, cameras]), axis=1)
    ids, seen_by = np.unique(pairs[0], return_counts=True)
    alone = ids[seen_by == 1]
    if not len(alone):
        return []
    half, effect = ("test", "cannot be found") if name == "gallery" else ("training", "teach nothing")
    return [
        Finding(
            "single-camera",
            "warning" if name == "gallery" else "note",
            len(alone),
            f"{len(alone):,} {half} identities were seen by one camera only: they {effect} across cameras.",
            tuple(f"person {person}" for person in alone[:EXAMPLES]),
            "Check the camera ids; add crops from other cameras, or accept that these identities count less.",
        )
    ]


def _check_queries(dataset: Dataset) -> list[Finding]:
    query, gallery = dataset.query, dataset.gallery
    if not len(query) and not len(gallery):
        summary = (
            "There are neither queries nor gallery crops: a network can learn from this data, but nothing is scored."
        )
        return [Finding("no-test-crops", "error", 0, summary, (), "Evaluate on other data, or add query and gallery.")]
    found = has_true_match(query, gallery, dataset.protocol)
    lost = np.flatnonzero(~found)
    if not len(query) or not len(gallery) or not found.any():
        cameras = (
            "not known" if query.camera_ids is None else list_briefly(np.unique(query.camera_ids).tolist(), EXAMPLES)
        )
        summary = (
            f"None of the {len(query):,} queries has a true match among {len(gallery):,} gallery crops "
            f"(query ids: {list_briefly(np.unique(query.person_ids).tolist(), EXAMPLES)}; cameras: {cameras}; "
            f"gallery ids: {list_briefly(np.unique(gallery.person_ids).tolist(), EXAMPLES)})."
        )
        advice = (
            "A match is the same person in another camera. Check that query and gallery number people the same way, "
            "and that camera ids are right; where cameras are not known, leave them out."
        )
        return [Finding("no-true-match", "error", len(query), summary, (), advice)]
    if not len(lost):
        return []
    return [
        Finding(
            "queries-without-match",
            "warning",
            len(lost),
            f"{len(lost):,} of {len(query):,} queries have no true match in the gallery; they are not counted.",
            tuple(shown_path(query.paths[i], dataset) for i in lost[:EXAMPLES]),
            "Add crops of these people from another camera to the gallery, or leave the queries out.",
        )
    ]
