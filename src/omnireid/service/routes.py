"""What each route of the service does. `omnireid.service.route_table` says which route it is, and whom it is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import Body, File, Query, Request, Response, UploadFile
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from omnireid.errors import NotInGalleryError, RequestError
from omnireid.gallery import deciding
from omnireid.gallery.deciding import People
from omnireid.gallery.decision_writing import WantedDecision
from omnireid.gallery.filters import SightingFilter
from omnireid.gallery.found import GalleryMatches
from omnireid.gallery.gallery import Gallery
from omnireid.gallery.identities import Kind
from omnireid.gallery.natural_order import natural_order
from omnireid.gallery.schema import SIGHTINGS
from omnireid.gallery.snapshot import embeddings_of
from omnireid.gallery.times import parse_time
from omnireid.service import shapes
from omnireid.service.adding import NewSighting
from omnireid.service.backend import Backend
from omnireid.service.descriptions import (
    describe_matches,
    describe_person,
    describe_question,
    describe_rows,
    describe_similar,
    first_pictures,
)
from omnireid.service.picture_body import media_type_of_body
from omnireid.service.uploads import Upload, check_upload
from omnireid.types import FloatArray

FLOATS = "application/octet-stream"
"""Media type of embeddings as bytes, which is a fifth of their size as JSON."""

_MOST_KEPT_QUESTIONS = 2_000
_SEARCHED_FOR_SIMILAR = 500


async def embed(request: Request, form: Annotated[shapes.EmbedForm, File()]) -> Response:
    """Embed crops, a row for each. Rows are not normalised, and only those of one model can be compared.

    A single crop may be the body itself, without a form, which costs the service less.
    With the header "Accept: application/octet-stream" the rows are float32 values, the lowest byte first, without JSON.
    """
    return await _embed(request, [await _upload(crop) for crop in form.crops])


async def embed_body(request: Request) -> Response:
    """Embed the crop that is the body of the request."""
    try:
        content = await request.body()
    except ClientDisconnect:
        raise RequestError("The request ended before its body was complete.") from None
    return await _embed(request, [check_upload(content, media_type_of_body(request.scope))])


async def _embed(request: Request, uploads: Sequence[Upload]) -> Response:
    backend = _backend(request)
    embeddings = await backend.embed(uploads)
    metadata = backend.embedder.metadata
    if FLOATS in request.headers.get("accept", ""):
        content = embeddings.astype("<f4", copy=False).tobytes()
        return Response(content, media_type=FLOATS, headers={"x-weights-sha256": backend.embedder.weights_sha256})
    return JSONResponse(
        {
            "architecture": metadata.architecture,
            "weights_sha256": backend.embedder.weights_sha256,
            "distance": metadata.distance,
            "embeddings": embeddings.tolist(),
        }
    )


async def search(request: Request, form: Annotated[shapes.SearchForm, File()]) -> Response:
    """Find the sightings nearest to a crop, a person or a sighting, nearest first. Each search is logged."""
    backend = _backend(request)
    if [form.crop, form.person, form.sighting].count(None) != 2:
        raise RequestError("Give one of crop, person and sighting to search for.")
    gallery, which = _gallery(request), form.chosen
    upload = None if form.crop is None else await _upload(form.crop)
    if upload is not None:
        embedding = (await backend.embed([upload]))[0]
        query = backend.query_of(embedding, form.camera, parse_time(form.time, "time"))
        contents = [upload.sha256]

        def find() -> GalleryMatches:
            return gallery.search(query, form.count, which, prior=form.prior, contents=contents)

    elif form.person is not None:
        person = form.person

        def find() -> GalleryMatches:
            return gallery.search_person(person, form.count, which, method="mean")

    else:
        number = form.sighting or 0
        others = f"sighting != {number}" + (f" and ({which.where})" if which.where else "")

        def find() -> GalleryMatches:
            embedding = _embedding_of(gallery, number)
            return gallery.search(embedding, form.count, replace(which, where=others), prior=form.prior)

    def answer() -> dict[str, Any]:
        found = find()
        return {
            "distance": found.distance,
            "prior": found.prior,
            "thresholds": found.thresholds,
            "index_recall": found.index_recall,
            "crop_sha256": None if upload is None else upload.sha256,
            "matches": describe_matches(found, backend.crops),
        }

    return JSONResponse(await backend.read(answer))


async def add_sighting(request: Request, form: Annotated[shapes.SightingForm, File()]) -> Response:
    """Add a crop. When the answer arrives it is on the disk; the same crop, camera and time is not added twice."""
    backend = _backend(request)
    upload, time = await _upload(form.crop), parse_time(form.time, "time")
    columns = _columns(form.columns)
    backend.crops.path_of(upload)  # a service that keeps no pictures refuses at once
    embedding, quality = await backend.examine(upload)
    new = NewSighting(
        upload,
        embedding,
        quality,
        request.state.who,
        camera=form.camera,
        time=time,
        person=form.person,
        track=form.track,
        box_xyxy=form.box_xyxy,
        columns=columns,
        keep_all=form.keep_all,
    )
    added = await backend.add(new)
    return JSONResponse({"added": added.is_new, "sighting": added.sighting}, 201 if added.is_new else 200)


async def list_sightings(request: Request, which: Annotated[shapes.SightingList, Query()]) -> Response:
    """List sightings by their numbers, a page at a time."""
    backend, gallery = _backend(request), _gallery(request)

    def answer() -> dict[str, Any]:
        import pyarrow.compute as pc

        table = gallery.sightings(which.chosen).table
        total, numbers = len(table), table.column("sighting")
        newest = which.order == "newest"
        if which.after is not None:
            table = table.filter((pc.less if newest else pc.greater)(numbers, which.after))
        page = table.slice(max(0, len(table) - which.limit)) if newest else table.slice(0, which.limit)
        records = describe_rows(page, backend.crops)
        if newest:
            records.reverse()
        more = len(table) > len(page)
        return {"total": total, "next": records[-1]["sighting"] if more else None, "sightings": records}

    return JSONResponse(await backend.read(answer))


async def show_sighting(request: Request, sighting: int) -> Response:
    """One sighting."""
    backend, gallery = _backend(request), _gallery(request)
    (record,) = await backend.read(lambda: _sightings(gallery, backend, [sighting]))
    return JSONResponse(record)


async def show_crop(request: Request, sighting: int) -> Response:
    """The picture of a sighting, where the operator has its folder shown."""
    backend, gallery = _backend(request), _gallery(request)

    def answer() -> tuple[bytes, str]:
        rows = gallery.database.rows(SIGHTINGS, ["path"], f"sighting = {_whole(sighting)}")
        if not len(rows):
            raise NotInGalleryError(f"There is no sighting {sighting}.")
        return backend.crops.read(rows.column("path")[0].as_py())

    content, media_type = await backend.read(answer)
    return Response(content, media_type=media_type, headers={"content-disposition": "inline"})


async def list_people(request: Request, page: Annotated[shapes.Page, Query()]) -> Response:
    """List the people, those seen most often first."""
    backend, gallery = _backend(request), _gallery(request)

    def answer() -> dict[str, Any]:
        people = gallery.people()
        chosen = people[page.offset : page.offset + page.limit]
        which = SightingFilter(persons=tuple(person.name for person in chosen))
        pictures = first_pictures(gallery.sightings(which).table, backend.crops) if chosen else {}
        records = [describe_person(person) | {"crop": pictures.get(person.name)} for person in chosen]
        return {"total": len(people), "people": records}

    return JSONResponse(await backend.read(answer))


async def show_person(request: Request, person: str, shown: Annotated[shapes.PersonQuery, Query()]) -> Response:
    """A person, their first sightings, and the people who look most like them."""
    backend, gallery = _backend(request), _gallery(request)

    def answer() -> dict[str, Any]:
        found = [one for one in gallery.people() if one.name == person]
        if not found:
            raise NotInGalleryError(f"There is no person {person!r} in the gallery.")
        rows = gallery.sightings(SightingFilter(persons=(person,))).table.slice(0, shown.limit)
        similar: list[dict[str, Any]] = []
        if shown.similar:
            matches = gallery.search_person(person, _SEARCHED_FOR_SIMILAR, method="mean")
            similar = describe_similar(describe_matches(matches, backend.crops), shown.similar)
        return {
            "person": describe_person(found[0]) | {"crop": first_pictures(rows, backend.crops).get(person)},
            "sightings": describe_rows(rows, backend.crops),
            "similar": similar,
        }

    return JSONResponse(await backend.read(answer))


async def decide(request: Request, decision: Annotated[shapes.DecisionBody, Body()]) -> Response:
    """Take a decision about people. Every decision can be undone."""
    wanted = WantedDecision(_choice_of(decision), decision.reason, who=request.state.who)
    made = await _backend(request).decide(wanted)
    return JSONResponse(made.json(), 201)


async def list_decisions(request: Request, page: Annotated[shapes.Page, Query()]) -> Response:
    """List who decided what, when and why, the last decision first."""
    gallery = _gallery(request)

    def answer() -> dict[str, Any]:
        made = gallery.decisions()[::-1]
        chosen = made[page.offset : page.offset + page.limit]
        return {"total": len(made), "decisions": [decision.json() for decision in chosen]}

    return JSONResponse(await _backend(request).read(answer))


async def list_questions(request: Request, asked: Annotated[shapes.ReviewQuery, Query()]) -> Response:
    """The pairs of sightings about which an answer helps most. The gallery needs a calibration."""
    backend, gallery = _backend(request), _gallery(request)
    questions = await backend.read_slowly(lambda: gallery.questions(asked.count))
    while len(backend.questions) > _MOST_KEPT_QUESTIONS:
        backend.questions.pop(next(iter(backend.questions)))
    backend.questions.update({(one.one.number, one.other.number): one for one in questions})
    return JSONResponse({"questions": [describe_question(question, backend.crops) for question in questions]})


async def answer_question(request: Request, answer: Annotated[shapes.Answer, Body()]) -> Response:
    """Answer a question that was asked. The answer is a decision."""
    backend = _backend(request)
    question = backend.questions.get((answer.one, answer.other))
    if question is None:
        raise NotInGalleryError("This question was not asked lately. Get the questions again.")
    choice = partial(deciding.answer, one=answer.one, other=answer.other, same=answer.same)
    made = await backend.decide(WantedDecision(choice, answer.reason, question.evidence, request.state.who))
    return JSONResponse(made.json(), 201)


async def erase(request: Request, erasure: Annotated[shapes.Erasure, Body()]) -> Response:
    """Erase sightings, with the pictures of them that the service keeps; or count what would be erased."""
    backend, gallery = _backend(request), _gallery(request)
    options = erasure.options
    which = options.filter

    def preview() -> dict[str, Any]:
        rows = gallery.sightings(which).table
        people = sorted(
            {person for person in rows.column("person").to_pylist() if person is not None}, key=natural_order
        )
        return {"sightings": len(rows), "people": people, "pictures_deleted": 0, "receipt": None}

    def write() -> dict[str, Any]:
        # The pictures go first: once the rows are gone nobody would know them. Killed in between, the same request
        # finishes the erasure.
        found = preview()
        chosen = gallery.sightings(which).table
        paths = set(chosen.column("path").to_pylist())
        everything = gallery.sightings().table
        erased = set(chosen.column("sighting").to_pylist())
        still = {
            path
            for number, path in zip(
                everything.column("sighting").to_pylist(), everything.column("path").to_pylist(), strict=True
            )
            if number not in erased
        }
        deleted = backend.crops.delete(paths - still)
        receipt = gallery.remove(options)
        return found | {"pictures_deleted": deleted, "receipt": receipt.json()}

    if erasure.preview:
        return JSONResponse(await backend.read(preview))
    return JSONResponse(await backend.write(write))


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


def _gallery(request: Request) -> Gallery:
    """The gallery, in which whatever happens is logged under the name of whoever sent the request."""
    return _backend(request).gallery.acting_as(request.state.who)


async def _upload(file: UploadFile) -> Upload:
    return check_upload(await file.read(), file.content_type)


def _columns(text: str) -> dict[str, str | bool | int | float]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f'columns: this is no JSON ({error}). Send an object such as {{"bag": "red"}}.') from None
    if not isinstance(values, dict) or not all(isinstance(value, shapes.Scalar) for value in values.values()):
        raise RequestError('columns: send an object of text, numbers, true and false, such as {"bag": "red"}.')
    return values


def _whole(number: int) -> int:
    """The number, if the database has one so large.

    Raises:
        NotInGalleryError: it does not.
    """
    if not 0 < number <= shapes.LARGEST:
        raise NotInGalleryError(f"There is no sighting {number}.")
    return number


def _sightings(gallery: Gallery, backend: Backend, numbers: Sequence[int]) -> list[dict[str, Any]]:
    chosen = ", ".join(str(_whole(number)) for number in numbers)
    rows = gallery.database.rows(SIGHTINGS, None, f"sighting IN ({chosen})")
    if len(rows) != len(numbers):
        raise NotInGalleryError(f"There is no sighting {chosen}.")
    return describe_rows(rows, backend.crops)


def _embedding_of(gallery: Gallery, number: int) -> FloatArray:
    rows = gallery.database.rows(SIGHTINGS, ["embedding"], f"sighting = {_whole(number)}")
    if not len(rows):
        raise NotInGalleryError(f"There is no sighting {number}.")
    embedding: FloatArray = embeddings_of(rows).astype("float32")
    return embedding


def _choice_of(decision: shapes.DecisionBody) -> Callable[[People], tuple[Kind, dict[str, Any]]]:
    """What the gallery chooses the event by, when the turn of the decision has come."""
    match decision:
        case shapes.Assign():
            return partial(deciding.assign, sightings=decision.sightings, name=decision.person)
        case shapes.Merge():
            return partial(deciding.merge, into=decision.into, others=decision.people)
        case shapes.Split():
            return partial(deciding.split, sightings=decision.sightings, name=decision.name)
        case shapes.Rename():
            return partial(deciding.rename, name=decision.person, new_name=decision.name)
        case shapes.Differ():
            return partial(deciding.differ, sightings=decision.sightings)
        case shapes.Undo():
            return partial(deciding.undo, event=decision.event)
