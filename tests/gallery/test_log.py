from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.gallery.tables import drawn_embeddings, filled

from omnireid.errors import DiskFullError, GalleryError, OutputError
from omnireid.gallery.audit import LOG_FILE, AuditEntry
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.log_file import append_lines, read_lines
from omnireid.gallery.schema import AUDIT


def actions(entries: list[AuditEntry]) -> list[str]:
    return [entry.action for entry in entries]


def test_everything_done_is_logged_and_seen_by_everybody_at_once(gallery: Gallery) -> None:
    gallery.search(drawn_embeddings(2), 1, SightingFilter(cameras=("1",)))
    added, searched = gallery.audit()
    assert (added.action, added.details) == ("add", {"added": 30, "found": 0, "left_out": 0})
    assert searched.details["filter"] == {"cameras": ["1"]}
    assert searched.details["queries"] == 2
    assert "@" in searched.who
    assert searched.time >= added.time
    assert Gallery.open(gallery.database.uri).audit() == [added, searched]


def test_optimize_moves_the_log_to_its_table_and_changes_no_entry(gallery: Gallery) -> None:
    gallery.search(drawn_embeddings(1), 1)
    before = gallery.audit()
    gallery.optimize()
    assert gallery.database.rows(AUDIT).num_rows == 2
    gallery.search(drawn_embeddings(1), 1)
    assert gallery.audit()[:2] == before
    assert actions(gallery.audit()) == ["add", "search", "optimize", "search"]


def test_a_kill_between_moving_the_log_and_removing_its_file_doubles_nothing(gallery: Gallery) -> None:
    file = Path(gallery.database.uri) / LOG_FILE
    gallery.search(drawn_embeddings(1), 1)
    kept = file.read_bytes()
    gallery.optimize()
    file.write_bytes(kept)  # as a kill would have left it
    assert actions(gallery.audit()) == ["add", "search"]
    gallery.search(drawn_embeddings(1), 1)
    assert actions(gallery.audit()) == ["add", "search", "search"]
    gallery.optimize()
    assert actions(gallery.audit()) == ["add", "search", "search", "optimize"]


def test_a_search_that_cannot_be_logged_is_answered(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **_flags: object) -> None:
        raise OutputError("No permission to write")

    monkeypatch.setattr("omnireid.gallery.audit.append_lines", refuse)
    with pytest.warns(UserWarning, match="This search is not in the gallery's log"):
        assert len(gallery.search(drawn_embeddings(1), 3)[0]) == 3


def test_a_line_that_a_power_cut_tore_is_no_entry_and_spoils_none(tmp_path: Path) -> None:
    path = tmp_path / LOG_FILE
    append_lines(path, [{"action": "add"}], lambda: 3, flush=True)
    with path.open("ab") as stream:
        stream.write(b'{"action": "sea')
    assert read_lines(path).entries == ({"action": "add"},)
    append_lines(path, [{"action": "remove"}], lambda: 99, flush=True)
    lines = read_lines(path)
    assert (lines.before, lines.entries) == (3, ({"action": "add"}, {"action": "remove"}))
    assert lines.not_in(4) == ({"action": "remove"},)


@pytest.mark.skipif(os.name != "posix", reason="there is no limit on the size of files here")
def test_no_room_for_a_line_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    import resource

    path, (soft, hard) = tmp_path / LOG_FILE, resource.getrlimit(resource.RLIMIT_FSIZE)
    append_lines(path, [{"action": "add"}], lambda: 0, flush=False)
    before = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(DiskFullError, match=LOG_FILE):
            append_lines(path, [{"action": "search"}], lambda: 0, flush=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_a_damaged_line_is_named_by_a_check(gallery: Gallery) -> None:
    file = Path(gallery.database.uri) / LOG_FILE
    file.write_bytes(file.read_bytes() + b"scribble\n")
    (problem,) = gallery.check().problems
    assert "Line 3 of the log" in problem
    with pytest.raises(GalleryError, match="Line 3 of the log"):
        gallery.audit()
    file.write_bytes(b"{}\n")
    with pytest.raises(GalleryError, match="does not begin with"):
        gallery.audit()


def test_another_gallery_in_the_same_place_is_noticed(gallery: Gallery, tmp_path: Path) -> None:
    """It has as many versions as the one before, so that a count of them would not tell."""
    query = drawn_embeddings(1)
    gallery.search(query, 1)
    other = filled(tmp_path / "other", seed=7)
    shutil.rmtree(gallery.database.uri)
    shutil.move(other.database.uri, gallery.database.uri)
    found = gallery.search(query, 3)[0]
    assert [match.sighting.path.split("/")[2] for match in found] == ["7"] * 3
    assert actions(gallery.audit()) == ["add", "search"]
