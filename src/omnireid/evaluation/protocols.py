"""How each protocol prepares queries and gallery before they are ranked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from omnireid.data.matches import TrueMatches, find_matches
from omnireid.errors import LabelsError, SettingError
from omnireid.retrieval.options import QueryExpansion, Reranking
from omnireid.terms import PROTOCOLS, Distance, Protocol
from omnireid.types import JUNK_PERSON_ID, AnyArray, Dataset, FloatArray, IntArray, Labels


def check_protocol(protocol: str, query: Labels, gallery: Labels) -> Protocol:
    """Check that the protocol exists and that the labels have the cameras it needs.

    Raises:
        SettingError: there is no protocol of that name.
        LabelsError: it needs camera ids and there are none.
    """
    for known in PROTOCOLS:
        if protocol == known:
            break
    else:
        raise SettingError(f"protocol: there is no {protocol!r}. Known: {', '.join(PROTOCOLS)}.")
    without = [name for name, labels in (("query", query), ("gallery", gallery)) if labels.camera_ids is None]
    needs_cameras = known in ("single-query", "multi-query") or (known == "single-gallery-shot" and len(without) == 1)
    if needs_cameras and without:
        raise LabelsError(
            f"Protocol {known} skips crops seen by the query's own camera, but the {' and the '.join(without)} labels "
            'have no camera ids. If the cameras are not known, use protocol="no-cameras" (--protocol no-cameras), '
            "which skips nothing."
        )
    return known


def check_labels(query: Labels, gallery: Labels, protocol: Protocol) -> None:
    """Check, before anything is embedded, that labels can be scored under `protocol`.

    Raises:
        SettingError: there is no protocol of that name.
        LabelsError: the protocol needs camera ids and there are none.
        NoTrueMatchError: no query has a true match; the message names the ids and cameras seen.
    """
    check_protocol(protocol, query, gallery)
    find_matches(query, gallery, use_cameras=uses_cameras(protocol, query))


def uses_cameras(protocol: Protocol, query: Labels) -> bool:
    """Whether crops from the query's own camera are skipped; `check_protocol` has accepted the labels."""
    return protocol != "no-cameras" and query.camera_ids is not None


def protocol_among_several(dataset: Dataset) -> Protocol:
    """The protocol for a data set that is scored beside others, unless another one is asked for.

    It is the one its numbers are published under. A data set without cameras is scored with one crop a person to find,
    so that every data set is asked the same question, however many crops of a person, such as frames of one walk,
    happen to be in it.
    """
    return "single-gallery-shot" if dataset.protocol == "no-cameras" else dataset.protocol


def check_neighbourhood(protocol: Protocol, reranking: Reranking | None, expansion: QueryExpansion | None) -> None:
    """Check that the protocol has one gallery for all queries, which re-ranking and query expansion need.

    Raises:
        SettingError: it has no such gallery.
    """
    for name, option in (("Re-ranking", reranking), ("Query expansion", expansion)):
        if option is not None and protocol == "single-gallery-shot":
            raise SettingError(
                f"{name} looks at the neighbours of a query in one gallery, but protocol single-gallery-shot draws "
                "another gallery for each repeat, and parts of it for some queries only. Use "
                'protocol="single-query" (--protocol single-query), or "no-cameras" for data without cameras, or '
                "evaluate without it."
            )


def average_queries(query: AnyArray, labels: Labels, distance: Distance) -> tuple[FloatArray, Labels, IntArray]:
    """Average the crops of each person in each camera, for the multi-query protocol.

    For ``cosine`` the unit vectors are averaged, so that a crop with a long embedding
    weighs no more than another; for ``euclidean`` the embeddings as they are. Junk
    queries (-1) are left out.

    Args:
        query: (Q, D) embeddings.
        labels: Q person and camera ids.
        distance: How the averages will be compared.

    Returns:
        (P, D) float32 averages, their P labels, and the (P,) index of the first crop in each; in order of person,
        then camera.

    Raises:
        LabelsError: there are no camera ids.

    Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015, section 3.3.
    """
    cameras = labels.camera_ids
    if cameras is None:
        raise LabelsError("Averaging queries needs camera ids: one average is made for each person in each camera.")
    order = np.lexsort((cameras, labels.person_ids))
    order = order[labels.person_ids[order] != JUNK_PERSON_ID]
    persons, cameras = labels.person_ids[order], cameras[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (persons[1:] != persons[:-1]) | (cameras[1:] != cameras[:-1])
    starts = np.flatnonzero(is_first)
    rows = query[order].astype(np.float64)
    if distance == "cosine":
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        np.divide(rows, lengths, out=rows, where=lengths > 0)
    sizes = np.diff(np.append(starts, len(order)))
    means = np.add.reduceat(rows, starts, axis=0) / sizes[:, None] if len(starts) else rows
    return means.astype(np.float32), Labels(persons[starts], cameras[starts]), order[starts]


@dataclass(frozen=True, eq=False)
class GalleryDraw:
    """One random gallery of the single-gallery-shot protocol.

    Attributes:
        crops: (S,) gallery indices to compare with, ascending.
        matches: True matches of the queries; its gallery indices are positions in `crops`.
        hidden: Positions in `crops` of the crops that only serve as the true match of some queries.
    """

    crops: IntArray
    matches: TrueMatches
    hidden: IntArray


def draw_gallery(matches: TrueMatches, person_ids: IntArray, generator: np.random.Generator) -> GalleryDraw:
    """Draw one gallery crop of each identity.

    All queries share the draw, except for the crop of their own identity: it is drawn
    from the true matches of the query, which another camera has seen where cameras are
    known.

    Args:
        matches: The counted queries, and all crops of their persons.
        person_ids: (G,) person ids of the gallery. Junk is never drawn.
        generator: Source of the random numbers.

    Source: Li et al., "DeepReID: Deep Filter Pairing Neural Network for Person Re-Identification", CVPR 2014.
    """
    lot = generator.permutation(len(person_ids))
    order = np.lexsort((lot, person_ids))
    order = order[person_ids[order] != JUNK_PERSON_ID]
    shared = order[np.flatnonzero(np.diff(person_ids[order], prepend=JUNK_PERSON_ID))]
    of_query, crop = matches.query_of_crop[matches.is_true_match], matches.crop_indices[matches.is_true_match]
    order = np.lexsort((lot[crop], of_query))
    own = crop[order[np.flatnonzero(np.diff(of_query[order], prepend=-1))]]
    crops = np.union1d(shared, own)
    persons = person_ids[crops]
    by_person = np.argsort(persons, kind="stable")
    wanted = person_ids[own]
    starts = np.searchsorted(persons[by_person], wanted, side="left")
    ends = np.searchsorted(persons[by_person], wanted, side="right")
    drawn = TrueMatches(
        queries=matches.queries,
        crops=by_person,
        starts=starts,
        ends=ends,
        offsets=np.concatenate([[0], np.cumsum(ends - starts)]),
        is_true_match=np.empty(0, dtype=bool),
        left_out=matches.left_out,
    )
    is_true_match = crops[drawn.crop_indices] == own[drawn.query_of_crop]
    return GalleryDraw(
        crops=crops,
        matches=replace(drawn, is_true_match=is_true_match),
        hidden=np.flatnonzero(~np.isin(crops, shared)),
    )
