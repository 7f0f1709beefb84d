"""The part of a gallery that says who is who: decisions, proposals and questions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Unpack

from omnireid.errors import CalibrationError, FilterError, GalleryError
from omnireid.gallery import deciding
from omnireid.gallery.clustering import ClusterProposal, propose_people
from omnireid.gallery.database import Database
from omnireid.gallery.deciding import People, ProposedPerson, Why, read_people
from omnireid.gallery.decision_writing import WantedDecision, decide_together
from omnireid.gallery.found import usual_prior
from omnireid.gallery.identities import Decision, Kind, read_decisions
from omnireid.gallery.info import Person, list_people
from omnireid.gallery.options import ClusterOptions
from omnireid.gallery.questions import Question, find_questions
from omnireid.gallery.schema import SIGHTINGS, GalleryFacts, read_facts
from omnireid.gallery.snapshot import Snapshot, read_snapshot, refresh_snapshot
from omnireid.retrieval.calibration import Calibration


class PeopleOfGallery:
    """What `omnireid.Gallery` inherits to say who is who. It has no state of its own.

    Attributes:
        database: Where the gallery is.
    """

    database: Database
    _snapshot: dict[tuple[str, Hashable], Snapshot]

    @property
    def facts(self) -> GalleryFacts:
        """What holds for all of it: its model, how embeddings are stored, its calibration.

        Raises:
            GalleryError: there is no gallery yet.
        """
        facts = read_facts(self.database)
        if facts is None:
            raise GalleryError(
                f"There is no gallery at {self.database.uri} yet. Check the name, or make one with: "
                "omnireid gallery add"
            )
        return facts

    def people(self) -> tuple[Person, ...]:
        """The people of the gallery, those seen most often first."""
        _ = self.facts
        return list_people(self._newest().sightings)

    def decisions(self) -> list[Decision]:
        """All decisions about people, oldest first, with those marked that were undone."""
        _ = self.facts
        return list(read_decisions(self.database))

    def assign(self, sightings: Sequence[int], person: str | None, **why: Unpack[Why]) -> Decision:
        """Give sightings to a person, who may be new; None says that they are of nobody known.

        Like every decision, this is an event that `undo` takes back at any time.

        Raises:
            GalleryError: a sighting is not there.
        """
        return self._decide(lambda people: deciding.assign(people, sightings, person), why)

    def merge(self, into: str, others: Sequence[str], **why: Unpack[Why]) -> Decision:
        """Say that people are one person, who keeps the name `into`; this holds for later sightings too.

        Raises:
            GalleryError: somebody is not there, or is to be merged with themselves.
        """
        return self._decide(lambda people: deciding.merge(people, into, others), why)

    def split(self, sightings: Sequence[int], name: str | None = None, **why: Unpack[Why]) -> Decision:
        """Make some of a person's sightings a person of their own, whose name is made where none is given.

        Raises:
            GalleryError: they are not of one person, or all of that person's; or the name is taken.
        """
        return self._decide(lambda people: deciding.split(people, sightings, name), why)

    def rename(self, person: str, name: str, **why: Unpack[Why]) -> Decision:
        """Give a person another name.

        Raises:
            GalleryError: there is nobody of this name, or the new one is taken.
        """
        return self._decide(lambda people: deciding.rename(people, person, name), why)

    def differ(self, sightings: Sequence[int], **why: Unpack[Why]) -> Decision:
        """Say that sightings show different people, so that `cluster` keeps them apart and `questions` asks no more.

        Raises:
            GalleryError: a sighting is not there, or two of them have one person already.
        """
        return self._decide(lambda people: deciding.differ(people, sightings), why)

    def cluster(self, options: ClusterOptions = ClusterOptions(), *, progress: bool = False) -> ClusterProposal:
        """Propose who is one person among the sightings that nobody has yet; `adopt` makes it a decision.

        Sightings that somebody has are never torn apart, and two people never become one: only a decision does that.

        Args:
            options: The method and its settings.
            progress: Show a bar on standard error.

        Raises:
            GalleryError: there is no gallery.
        """
        facts = self.facts
        return propose_people(*self._newest_people(), facts.model.distance, options, progress=progress)

    def adopt(self, proposal: ClusterProposal, *, reason: str = "") -> Decision:
        """Give the sightings of a proposal to its people, as one decision with the proposal's settings as evidence.

        Raises:
            GalleryError: nobody is proposed, or the gallery has changed since.
        """
        why: Why = {"reason": reason, "evidence": proposal.evidence}
        return self._decide(lambda people: deciding.adopt(people, proposal.people), why)

    def adopt_people(self, people: Sequence[ProposedPerson], **why: Unpack[Why]) -> Decision:
        """Give sightings that nobody has to people who were found elsewhere, such as by tracking, as one decision.

        Raises:
            GalleryError: nobody is given, a sighting has a person already, or a name is not as it is said to be.
        """
        return self._decide(lambda known: deciding.adopt(known, people), why)

    def questions(self, count: int = 20, *, prior: float | None = None, progress: bool = False) -> tuple[Question, ...]:
        """The pairs of sightings about which an answer helps most, the most useful first; `answer` takes the answer.

        Args:
            count: Number of questions, at most.
            prior: Probability that a sighting shows a certain person, before anybody looked. By default a half, shared
                among the people of the gallery.
            progress: Show a bar on standard error.

        Raises:
            CalibrationError: the gallery has no calibration, so nobody knows what is near the threshold.
        """
        calibration = self._calibration(self.facts)
        if calibration is None:
            raise CalibrationError(
                f"The gallery {self.database.uri} has no calibration, so it is not known which pairs are doubtful. "
                "Make one with omnireid calibrate, and keep it with: omnireid gallery calibrate"
            )
        return find_questions(*self._newest_people(), calibration, count, prior=prior, progress=progress)

    def answer(self, question: Question, *, same: bool, reason: str = "") -> Decision:
        """Decide a question: the two sightings are of one person, or of two.

        Raises:
            GalleryError: a sighting is gone, or the question was decided meanwhile.
        """
        one, other = question.one.number, question.other.number
        why: Why = {"reason": reason, "evidence": question.evidence}
        return self._decide(lambda people: deciding.answer(people, one, other, same=same), why)

    def is_open(self, question: Question) -> bool:
        """Whether a question still stands: both sightings are there, not of one person, and not said to differ."""
        people = read_people(self.database)
        return deciding.is_open(people, question.one.number, question.other.number)

    def undo(self, event: int | None = None, **why: Unpack[Why]) -> Decision:
        """Take back a decision, by its number, whatever came after it; by default the last one that counts.

        Raises:
            GalleryError: there is no such decision, or it was undone already.
        """
        return self._decide(lambda people: deciding.undo(people, event), why)

    def decide_together(self, wanted: Sequence[WantedDecision]) -> list[Decision | Exception]:
        """Take decisions in their order, in one write; the event of each, or the error of one that does not fit.

        Each is checked against who is who after those before it. What returns an event is on the disk.

        Raises:
            GalleryError: there is no gallery.
            DiskFullError: no space is left.
        """
        with self.database.sole_writer():
            _ = self.facts
            return decide_together(self.database, wanted)

    def _decide(self, choose: Callable[[People], tuple[Kind, dict[str, Any]]], why: Why) -> Decision:
        (made,) = self.decide_together([WantedDecision(choose, why.get("reason", ""), why.get("evidence") or {})])
        if isinstance(made, Exception):
            raise made
        return made

    def _newest_people(self) -> tuple[Snapshot, People]:
        return self._newest(), read_people(self.database)

    def _calibration(self, facts: GalleryFacts) -> Calibration | None:
        if facts.calibration is None:
            return None
        return Calibration.from_json(facts.calibration, f"the calibration of {self.database.uri}")

    def _usual_prior(self) -> float:
        """The prior where nobody states one, by the number of people in the gallery."""
        return self.database.remember("prior", SIGHTINGS, lambda: usual_prior(self._newest().sightings))

    def _newest(self) -> Snapshot:
        """The rows of the newest version. What was read of an earlier one is taken over, and only changes are read.

        The salt tells this gallery from another one that was put in its place and has as many versions. Of several
        threads that want a new version one reads it, and the others wait for that.
        """
        kept = self._snapshot.get(self._state())
        if kept is not None:
            return kept
        with self.database.lock(SIGHTINGS):
            state = self._state()
            kept = self._snapshot.get(state)
            if kept is None:
                kept = self._retrying(lambda: self._read_changes(state[0]))
                self._snapshot.clear()
                self._snapshot[state] = kept
            return kept

    def _read_changes(self, salt: str) -> Snapshot:
        """The newest version, made from an earlier one of the gallery with this salt where there is one."""
        for (earlier_salt, _), earlier in [*self._snapshot.items()]:
            refreshed = refresh_snapshot(self.database, earlier) if earlier_salt == salt else None
            if refreshed is not None:
                return refreshed
        self._snapshot.clear()  # it takes as much memory as what is read now
        return read_snapshot(self.database)

    def _state(self) -> tuple[str, Hashable]:
        return self.facts.salt, self._retrying(lambda: self.database.state(SIGHTINGS))

    def _retrying(self, read: Callable[[], Any]) -> Any:
        """Read, and once more if a rewrite took the version away in between."""
        for _ in range(4):
            try:
                return read()
            except FilterError:
                raise
            except GalleryError:
                self._snapshot.clear()
        return read()
