"""Claims: a person is found better by all their sightings than by one, and sightings are put together without labels.

Market-1501's test set is a gallery, from two tables that `omnireid embed` made. Labels serve to score only.

**Search.** The queries of the 750 people are searched for in the gallery: each alone (the baseline, as `evaluate`
scores it), and all queries of a person together, by ``best``, ``mean`` and ``vote``. A gallery crop counts for a
person's search if a camera took it that took none of the person's queries... which would leave nothing, so the
cameras are asked one by one: a person is searched for by all queries of other cameras than the camera's, among that
camera's crops and the distractors'. Single queries are scored on the same tasks, so both columns rank the same crops.

**Clustering.** Queries and gallery together, 19,281 crops with 2,798 distractors, which are clustered too and are not
scored. Pairwise F1 counts pairs of crops; B-cubed F1 averages over crops (Bagga and Baldwin, 1998). People found are
groups with at least two crops of the 750 people. The baseline joins every two neighbours up to a distance; it is
given the threshold that scores best here, which no other row is.

Run: omnireid embed Market-1501-v15.09.15 --split query --output query.parquet (and --split gallery), then
python benchmarks/gallery_people.py query.parquet gallery.parquet

`python benchmarks/gallery_people.py choose TABLE…` prints the scores of many settings on other people.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace

import numpy as np

from omnireid import EmbeddingTable, read_embeddings, search
from omnireid.data.market_names import market_frame
from omnireid.gallery.clustering import join_neighbours
from omnireid.gallery.constraints import Circumstances, Groups
from omnireid.gallery.options import METHODS, ClusterOptions, SearchMethod
from omnireid.gallery.person_search import fuse_rankings, person_queries
from omnireid.machine import describe
from omnireid.retrieval.distance import check_distance
from omnireid.retrieval.options import Reranking
from omnireid.retrieval.reciprocal_graph import ReciprocalGraph, connect_neighbours
from omnireid.types import IntArray

FRAME_RATE = 25
"""Frames a second of Market-1501."""
