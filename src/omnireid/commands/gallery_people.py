"""The people of ``omnireid gallery``: decisions, proposals and questions. Each function is one subcommand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from omnireid.commands.options import GalleryOption, JsonOption, check_json, leave_json, text_stream
from omnireid.gallery.options import ClusterOptions

if TYPE_CHECKING:
    from omnireid.gallery.gallery import Gallery
    from omnireid.gallery.identities import Decision
    from omnireid.gallery.questions import Question

SightingsPositional = Annotated[
    tuple[int, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SIGHTINGS", help="Numbers of sightings.")
]
PersonPositional = Annotated[
    str, tyro.conf.Positional, tyro.conf.arg(metavar="PERSON", help="Name of a person of the gallery.")
]
ReasonOption = Annotated[str, tyro.conf.arg(help="Why, in your words; it is kept with the decision.")]


def open_gallery(gallery: str) -> Gallery:
    """Open a gallery without a model."""
    from omnireid.gallery.gallery import Gallery

    return Gallery.open(gallery)


def explain_undo(decision: Decision, gallery: str) -> str:
    """What was decided, and the command that takes it back."""
    return f"{decision}\nTake it back with: omnireid gallery undo --gallery {gallery} --event {decision.event}"


def people(*, gallery: GalleryOption, json: JsonOption = None) -> None:
    """List the people of a gallery, those seen most often first.

    Example: omnireid gallery people --gallery people.gallery
    """
    check_json(json)
    listed = open_gallery(gallery).people()
    say = text_stream(json)
    for person in listed:
        times = "" if person.first is None or person.last is None else f"  {person.first} to {person.last}"
        cameras = f"  cameras {', '.join(person.cameras)}" if person.cameras else ""
        print(f"{person.name}: {person.sightings:,} sightings{cameras}{times}", file=say)
    print(f"{len(listed):,} people", file=say)
    leave_json(json, {"people": [person.json() for person in listed]})


def assign(
    sightings: SightingsPositional,
    *,
    gallery: GalleryOption,
    person: str | None = None,
    nobody: bool = False,
    reason: ReasonOption = "",
) -> None:
    """Say whom sightings are of. Like every decision, this can be undone at any time.

    Example: omnireid gallery assign 12 15 --person anna --reason "seen at the desk" --gallery people.gallery

    Args:
        person: The person, who may be new.
        nobody: They are of nobody known.
    """
    from omnireid.errors import SettingError

    if (person is None) != nobody:
        raise SettingError("Give either --person or --nobody.")
    print(open_gallery(gallery).assign(sightings, person, reason=reason))


def merge(
    person: PersonPositional,
    others: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="OTHERS", help="Who is the same.")],
    *,
    gallery: GalleryOption,
    reason: ReasonOption = "",
) -> None:
    """Say that people are one person, who keeps the first name. It holds for sightings that are added later too.

    Example: omnireid gallery merge anna 17 23 --gallery people.gallery
    """
    print(open_gallery(gallery).merge(person, others, reason=reason))


def split(
    sightings: SightingsPositional, *, gallery: GalleryOption, name: str | None = None, reason: ReasonOption = ""
) -> None:
    """Make some of a person's sightings a person of their own.

    Example: omnireid gallery split 15 16 --name bert --gallery people.gallery

    Args:
        name: Name of the new person; made from the old one by default.
    """
    print(open_gallery(gallery).split(sightings, name, reason=reason))


def rename(
    person: PersonPositional,
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help="The new name.")],
    *,
    gallery: GalleryOption,
    reason: ReasonOption = "",
) -> None:
    """Give a person another name.

    Example: omnireid gallery rename 17 anna --gallery people.gallery
    """
    print(open_gallery(gallery).rename(person, name, reason=reason))


def undo(*, gallery: GalleryOption, event: int | None = None, reason: ReasonOption = "") -> None:
    """Take back a decision, whatever came after it. An undo can be undone too.

    Example: omnireid gallery undo --gallery people.gallery --event 3

    Args:
        event: Number of the decision, as omnireid gallery decisions lists it. By default the last one that counts.
    """
    print(open_gallery(gallery).undo(event, reason=reason))


def decisions(*, gallery: GalleryOption, json: JsonOption = None) -> None:
    """List who decided what about people, when and why, oldest first.

    Example: omnireid gallery decisions --gallery people.gallery
    """
    check_json(json)
    listed = open_gallery(gallery).decisions()
    for decision in listed:
        print(decision, file=text_stream(json))
    leave_json(json, {"decisions": [decision.json() for decision in listed]})


def differ(sightings: SightingsPositional, *, gallery: GalleryOption, reason: ReasonOption = "") -> None:
    """Say that sightings show different people. Clustering keeps them apart, and review asks about them no more.

    Example: omnireid gallery differ 12 15 --gallery people.gallery
    """
    print(open_gallery(gallery).differ(sightings, reason=reason))


def cluster(
    *,
    gallery: GalleryOption,
    options: ClusterOptions = ClusterOptions(),
    apply: bool = False,
    reason: ReasonOption = "",
    json: JsonOption = None,
) -> None:
    """Propose who is one person among the sightings that have no person yet. Nothing is changed without --apply.

    Sightings that have a person keep it, and two people never become one. Two boxes of one frame, and two cameras at
    one time, are two people. What was applied is one decision, which omnireid gallery undo takes back.

    Example: omnireid gallery cluster --gallery people.gallery --apply

    Args:
        options: How people are proposed.
        apply: Give the sightings to the proposed people.
    """
    check_json(json)
    opened = open_gallery(gallery)
    proposal = opened.cluster(options, progress=True)
    say = text_stream(json)
    print(proposal.table(), file=say)
    decision = opened.adopt(proposal, reason=reason) if apply and proposal.people else None
    leave_json(json, proposal.json() | {"event": None if decision is None else decision.event})
    if decision is not None:
        print(explain_undo(decision, gallery), file=say)
    elif proposal.people:
        print("Nothing was changed; --apply gives the sightings to these people.", file=say)


def review(
    *,
    gallery: GalleryOption,
    count: int = 20,
    prior: float | None = None,
    picture: Path | None = None,
    json: JsonOption = None,
) -> None:
    """Ask whether two sightings show one person, the most useful questions first, with one key for each answer.

    The gallery needs a calibration. Each answer is a decision, which omnireid gallery undo takes back. With --json the
    questions are listed and nobody is asked; answer them with omnireid gallery assign, merge and differ.

    Example: omnireid gallery review --gallery people.gallery --count 50 --picture pair.png

    Args:
        count: Number of questions, at most.
        prior: Probability that a sighting shows a certain person, before anybody looked. The default is that of
            gallery search.
        picture: Draw the two crops in this PNG file, anew for each question; with --json, all questions.
    """
    from omnireid.commands.keys import check_terminal, single_keys
    from omnireid.files import check_output

    check_json(json)
    if picture is not None:
        check_output(picture, suffix=".png")
    if json is None:
        check_terminal()
    opened = open_gallery(gallery)
    questions = opened.questions(count, prior=prior, progress=True)
    if json is None:
        with single_keys() as read_key:
            _ask(opened, questions, picture, read_key)
        return
    for number, question in enumerate(questions, start=1):
        print(f"{number}. {question}", file=text_stream(json))
    if picture is not None and questions:
        _draw(questions, picture)
    leave_json(json, {"questions": [question.json() for question in questions]})


def _ask(opened: Gallery, questions: Sequence[Question], picture: Path | None, read_key: Callable[[str], str]) -> None:
    """Ask one question after the other until they are answered or somebody has had enough."""
    answered: list[tuple[int, int]] = []  # event and number of the question
    number = 0
    while number < len(questions):
        question = questions[number]
        if not opened.is_open(question):
            number += 1
            continue
        if picture is not None:
            _draw([question], picture)
        print(f"\n{number + 1} of {len(questions)}: {question}")
        print("[s]ame  [d]ifferent  s[k]ip  [u]ndo  [q]uit: ", end="", flush=True)
        key = read_key("sdkuq")
        print(key)
        if key == "q":
            break
        if key == "u" and answered:
            event, number = answered.pop()
            print(opened.undo(event))
        elif key == "u":
            print("Nothing was answered yet.")
        else:
            if key != "k":
                decision = opened.answer(question, same=key == "s")
                answered.append((decision.event, number))
                print(decision)
            number += 1
    print(f"{len(answered):,} questions answered")


def _draw(questions: Sequence[Question], picture: Path) -> None:
    from omnireid.reports.question_pairs import draw_questions

    draw_questions(questions, picture)
