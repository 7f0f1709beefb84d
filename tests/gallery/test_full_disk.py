"""Galleries on disks that are full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions

_FULL_DISK = """
import resource, sys
from tests.gallery.tables import table_of
from omnireid.errors import DiskFullError
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.options import ErasureOptions

gallery = Gallery.open(sys.argv[1])
gallery.add(table_of(10, seed=1))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for name, act in {
    "add": lambda: gallery.add(table_of(40, seed=2)),
    "optimize": gallery.optimize,
    "remove": lambda: gallery.remove(ErasureOptions(person=("2",))),
}.items():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        act()
        print(name, "went on")
    except DiskFullError as error:
        print(name, "stopped:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(name, "left", len(gallery.sightings()))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no limit on the size of files here")
def test_no_room_stops_every_change_and_leaves_the_gallery_whole(gallery: Gallery) -> None:
    """A limit on the size of files stands in for a full disk: LanceDB meets it in the middle of a file."""
    words = [sys.executable, "-c", _FULL_DISK, gallery.database.uri]
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line.split(":")[0] for line in said] == [
        "add stopped",
        "add left 40",
        "optimize stopped",
        "optimize left 40",
        "remove stopped",
        "remove left 40",
    ]
    assert all("No space left on the disk" in line for line in said[::2])
    again = Gallery.open(gallery.database.uri)
    assert again.remove(ErasureOptions(person=("2",))).verified
    assert len(again.sightings()) == 32
    assert again.check().problems == ()
