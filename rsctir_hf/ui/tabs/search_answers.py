"""What the tab *Search* answers: pictures for words, pictures like a picture, else the gallery."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from os.path import isabs
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from rsctir_hf.errors import QueryError, RsctirError
from rsctir_hf.search.facets import dated
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.search.query import describe_parts
from rsctir_hf.search.retriever import QueryPart, Retriever, confidence
from rsctir_hf.search.written_filters import read_dates, read_filter
from rsctir_hf.ui.server.events import item_of, told_to_visitors
from rsctir_hf.ui.server.kept_gallery import spread
from rsctir_hf.ui.server.marked import Marks
from rsctir_hf.ui.server.messages import counted
from rsctir_hf.ui.server.own_pictures import OwnPictures, index_own_pictures
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.server.uploads import offer_file, png_of, read_upload, uploaded
from rsctir_hf.ui.server.workbench import Phase, Workbench
from rsctir_hf.ui.views.address import RESULTS, TABS, Asked, kept_address, read_address
from rsctir_hf.ui.views.cards import heading, hint, note, notice, pages_nav, refusal
from rsctir_hf.ui.views.notices import NO_WORDS, NOTHING_TO_SHOW, part_searched
from rsctir_hf.ui.views.results import (
    DOUBTS,
    NO_RERANK,
    SMR,
    ShownHits,
    describe_moves,
    for_pictures,
    picture_detail,
    picture_results,
    pictures_to_browse,
    type_in_words,
    without,
)
from rsctir_hf.ui.views.why_here import heat_in_view
from rsctir_hf.vector_index.contract import SearchFilter

logger = logging.getLogger(__name__)

GALLERY, OWN = "Gallery", "Your pictures"
ANY_TYPE = "Any scene type"
PAGE = 24  # pictures to browse at a time
MOST_PAGES = 10**6
_ASKS = frozenset(("q", "labels", "like", "page", "type"))  # of an address
_WHOSE_WORDS = note(
    "Words in quotation marks are captions that came with the pictures. The search does not read "
    "them: it looks at the pictures."
)
#: What an answer fills: message, grid, pages, what is shown, what was asked, the address.
Answer = tuple[str, str, str, ShownHits, Asked, str]


@dataclass
class Visit:
    """What one visitor has begun; handlers that run meanwhile see it change.

    Attributes:
        asked: a question was asked, though its answer may not be there yet.
    """

    asked: bool = False


@dataclass(frozen=True)
class Controls:
    """What stands in the controls, in the order in which an event hands it over."""

    rerank: str = NO_RERANK
    top_k: float = RESULTS
    kind: str | None = ANY_TYPE
    temperature: float | None = None
    where: str = GALLERY
    own: OwnPictures | None = None
    visit: Visit = field(default_factory=Visit)
    kept: Asked = field(default_factory=Asked)  # filters and parts stay from it
    marks: Marks = field(default_factory=Marks)

    @property
    def type(self) -> str:
        """The scene type that is asked for; empty for any."""
        return "" if self.kind in (None, ANY_TYPE) else str(self.kind)


@dataclass(frozen=True)
class Place:
    """Where a visitor searches: the launched gallery, or their own pictures."""

    retriever: Retriever | None
    gallery: Gallery

    def only(self, asked: Asked, retriever: Retriever) -> SearchFilter | None:
        """Return the filter of a question, its scene type among it; None where it has none.

        Raises:
            QueryError: it makes no sense, or there are no dates.
        """
        dates = read_dates(asked.after or None, asked.before or None)
        only = dated(retriever.engine, read_filter(asked.where, asked.bbox or None), dates)
        if asked.type not in self.gallery.types:
            return only
        more = {"path": self.gallery.types[asked.type]}
        return SearchFilter({**(only.where if only else {}), **more}, only.box if only else None)

    def counted(self, asked: Asked, retriever: Retriever, only: SearchFilter | None) -> int:
        """Return how many pictures a question is put to."""
        if asked.filtered:
            return len(retriever.engine.ids(only))
        return len(self.gallery.types.get(asked.type, self.gallery.paths))

    def paths(self, kind: str) -> Sequence[str]:
        """Return the pictures of a scene type, in an order in which the first ones differ."""
        return self.gallery.types.get(kind) or [str(path) for path in spread(self.gallery.paths)]


@dataclass(frozen=True)
class Launched:
    """What is filled once the gallery of a launch is open: ``fill`` takes ``given``."""

    filled: list[gr.blocks.Block]
    given: list[gr.State]
    fill: Callable[..., tuple[Any, ...]]


class SearchHandlers:
    """What the events of the tab call; each returns new values for its outputs."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def answer(self, asked: Asked, controls: Controls) -> Answer:
        """Answer a question, or show a page of the gallery where there is none."""
        controls.visit.asked = True
        if asked.q or asked.like or asked.parts or asked.marked:
            asked = replace(asked, labels="")
        try:
            if not (asked.asks or asked.marked):
                return self.browse(asked, controls.own if controls.where == OWN else None)
            place = self._place(controls)
            if asked.marked:
                shown, said = self._marked(asked, place, controls.marks)
            elif asked.labels:
                shown, said = self._labelled(asked, place)
            else:
                shown, said = self._search(asked, place, controls.temperature)
        except RsctirError as error:
            return refusal(error), "", "", ShownHits(), asked, kept_address(asked)
        said += self._still_indexing() if controls.where != OWN else ""
        label = (
            f"Pictures like {asked.like}"
            if asked.like
            else f"Pictures for {asked.q or asked.labels}"
        )
        grid = picture_results(shown, label=label, markable=True)
        return said, grid, "", shown, asked, kept_address(asked)

    def browse(self, asked: Asked, own: OwnPictures | None = None) -> Answer:
        """Show a page of the gallery, which needs no model."""
        gallery = self.bench.gallery if own is None else own.gallery
        if gallery is None:
            return "", "", "", ShownHits(), asked, kept_address(asked)
        place = Place(own.retriever if own else None, gallery)
        paths = place.paths(asked.type)
        if asked.filtered:
            retriever = place.retriever or self.bench.retriever()
            passing = paths_of(retriever, place.only(asked, retriever))
            paths = [path for path in paths if path in passing]
        pages = -(-len(paths) // PAGE)
        asked = replace(asked, page=max(min(asked.page, pages), 1))
        first = (asked.page - 1) * PAGE
        shown = pictures_to_browse(gallery, paths[first : first + PAGE])
        grid = picture_results(shown, label="Pictures of the gallery", markable=True)
        kind = f"{type_in_words(asked.type)} " if asked.type in gallery.types else ""
        said = heading(f"Browse {len(paths):,} {kind}pictures, or say what you look for")
        turning = pages_nav(asked.page, pages)
        return said, grid, turning, shown, asked, kept_address(asked)

    def search(self, query: str | None, *controls: Any) -> Answer:  # noqa: ANN401
        """Answer words that were typed; ``controls`` is what ``Controls`` takes."""
        given = Controls(*controls)
        kept = replace(given.kept, like="", parts=(), page=1, open=0, marked=False)
        asked = replace(kept, q=(query or "").strip(), type=given.type, rerank=NO_RERANK)
        if not asked.q:
            asked = replace(asked, results=RESULTS)
            return NO_WORDS, *self.answer(asked, given)[1:]
        asked = replace(asked, rerank=given.rerank, results=int(given.top_k))
        return self.answer(asked, given)

    def search_again(self, asked: Asked, *controls: Any) -> Answer:  # noqa: ANN401
        """Answer the last question anew after a control has changed."""
        given = Controls(*controls)
        asked = replace(asked, type=given.type, page=1, open=0)
        if asked.asks or asked.marked:
            asked = replace(asked, rerank=given.rerank, results=int(given.top_k))
        return self.answer(asked, given)

    def turn(
        self, asked: Asked, where: str, own: OwnPictures | None, event: gr.EventData
    ) -> Answer:
        """Show another page of the gallery."""
        page = max(item_of(event, range(MOST_PAGES)), 1)
        with told_to_visitors():
            return self.browse(replace(asked, page=page, open=0), own if where == OWN else None)

    def similar(
        self,
        path: str | None,
        shown: ShownHits,
        *controls: Any,  # noqa: ANN401 - what ``Controls`` takes
    ) -> tuple[Any, ...]:
        """Show what looks like the open picture, in the place of the results; no words."""
        given = Controls(*controls)
        names = shown.gallery.names if shown.gallery else {}
        asked = replace(
            given.kept,
            q="",
            parts=(),
            page=1,
            open=0,
            marked=False,
            like=names.get(path or "", ""),
            rerank=for_pictures(given.rerank),
            type=given.type,
            results=int(given.top_k),
        )
        return "", *self.answer(asked, given)

    def show(
        self, shown: ShownHits, asked: Asked, event: gr.EventData
    ) -> tuple[str, str | None, str, Asked, str]:
        """Open the picture that was clicked; ``why`` fills the last part."""
        hit = item_of(event, shown.hits)
        asked = replace(asked, open=shown.hits.index(hit) + 1)
        return picture_detail(hit, shown), hit.path, "", asked, kept_address(asked)

    def restore(self, visit: Visit, event: gr.EventData) -> tuple[Any, ...]:
        """Bring back what an address says: controls, tab, answer, and the picture that is open."""
        data = event._data if isinstance(event._data, dict) else {}
        asked = read_address(data.get("address"))
        message, grid, pages, shown, asked, address = self.answer(asked, Controls(visit=visit))
        opened = shown.hits[asked.open - 1] if 0 < asked.open <= len(shown.hits) else None
        if opened is None and asked.open:
            address = kept_address(replace(asked, open=0))
        large = picture_detail(opened, shown) if opened else ""
        rerank = shown.rerank if shown.hits else NO_RERANK  # one that was refused is not offered
        controls = (
            asked.q,
            rerank == SMR,
            rerank,
            asked.type or ANY_TYPE,
            asked.results,
            GALLERY,
            gr.Tabs(selected=asked.tab),
            large,
            opened.path if opened else None,
        )
        return *controls, message, grid, pages, shown, replace(asked, tab=TABS[0]), address

    def launched(
        self, shown: ShownHits, visit: Visit, address: Iterable[str] = ()
    ) -> tuple[Any, ...]:
        """Offer the scene types, and the gallery to browse to whom nothing is shown yet.

        ``address`` are the names that the address has values for: it may ask something itself.
        """
        gallery = self.bench.gallery
        if gallery is None:
            return (gr.skip(),) * 5
        busy = shown.hits or visit.asked or not _ASKS.isdisjoint(address)
        page = (gr.skip(),) * 4 if busy else self.browse(Asked())[:4]
        if visit.asked:  # meanwhile
            page = (gr.skip(),) * 4
        return gr.update(**type_choices(gallery)), *page

    def why(self, path: str | None, shown: ShownHits) -> str:
        """Draw where the words are in the opened result; nothing where no words were asked."""
        try:
            return heat_in_view(self.bench.retriever(), read_picture(path or ""), shown.words)
        except RsctirError as error:
            logger.info("No heat map below a result: %s", error)
            return ""

    def add_pictures(self, uploads: list[str] | None) -> tuple[OwnPictures | None, str, Any]:
        """Index a visitor's uploads and switch the search to them."""
        if not uploads:
            return None, "", gr.update(value=GALLERY, interactive=False)
        try:
            own = index_own_pictures(self.bench, uploads)
        except RsctirError as error:
            refused = refusal(error, "These pictures were not added")
            return None, refused, gr.update(value=GALLERY, interactive=False)
        message = notice("warning" if own.skipped else "info", own.in_words())
        return own, message, gr.update(value=OWN, interactive=True)

    def result(self, path: str | None, shown: ShownHits) -> tuple[Image.Image | None, str]:
        """Return the picture of the detail panel and the words that found it, for another tab."""
        with told_to_visitors():
            return read_picture(path) if path else None, shown.words

    def _place(self, controls: Controls) -> Place:
        retriever = self.bench.retriever()
        if controls.where == OWN and controls.own is not None:
            return Place(controls.own.retriever, controls.own.gallery)
        if self.bench.gallery is None:
            raise QueryError("The gallery is not open yet. Try again in a moment.")
        return Place(retriever, self.bench.gallery)

    def _search(
        self, asked: Asked, place: Place, temperature: float | None
    ) -> tuple[ShownHits, str]:
        """Find what fits all parts of a question; the picture that it names is left out."""
        parts = parts_of(asked, place.gallery)
        about_query = describe_parts(parts)
        retriever = place.retriever or self.bench.retriever()
        only = place.only(asked, retriever)
        own = place.gallery.path_of(asked.like) if asked.like else ""
        rerank = asked.rerank if asked.q else for_pictures(asked.rerank)
        folding = retriever.folding(asked.fold) if asked.fold else retriever
        hits = folding.search(
            parts,
            top_k=asked.results + bool(own),
            rerank=rerank,
            temperature=temperature or None,
            only=only,
        )
        found = tuple(without(own, hits)[: asked.results])
        shown = ShownHits(found, rerank, place.gallery, asked.q)
        if asked.like and not (asked.q or asked.parts):
            return shown, heading(f"Most like {asked.like}")
        return shown, self._said(asked, shown, about_query, place.counted(asked, retriever, only))

    def _labelled(self, asked: Asked, place: Place) -> tuple[ShownHits, str]:
        """Find what most likely shows what is ticked."""
        retriever = place.retriever or self.bench.retriever()
        only = place.only(asked, retriever)
        folding = retriever.folding(asked.fold) if asked.fold else retriever
        hits = folding.labels.find(asked.labels, top_k=asked.results, only=only)
        words = asked.labels.replace('"', "")
        shown = ShownHits(tuple(hits), NO_RERANK, place.gallery, words, likely=True)
        return shown, self._said(asked, shown, None, place.counted(asked, retriever, only))

    def _said(self, asked: Asked, shown: ShownHits, about_query: str | None, count: int) -> str:
        what = f" for {shown.words}" if shown.likely else ""
        said = heading(f"Best of {counted(count, 'picture')}{what}")
        known = shown.gallery.record if shown.gallery else None
        if known and any(known(hit.path).captions for hit in shown.hits if hit.path):
            said += _WHOSE_WORDS
        if not shown.hits and asked.filtered:
            return said + notice("warning", "Nothing passes the filters", "Take one of them off.")
        return said + search_message(about_query, shown)

    def _marked(self, asked: Asked, place: Place, marks: Marks) -> tuple[ShownHits, str]:
        """Find what a visitor's marks lead to; what is marked is left out, to mark more."""
        if asked.like or asked.parts:
            raise QueryError(
                "Marks go with words alone. Take the other parts of the query out; mark what is "
                "not wanted as bad."
            )
        retriever = place.retriever or self.bench.retriever()
        concept = marks.learnt(asked.q, retriever)
        only = place.only(asked, retriever)
        marked = "first" if concept.marks and marks.unchanged(concept) else "out"
        folding = retriever.folding(asked.fold) if asked.fold else retriever
        hits = folding.concepts.find(concept, top_k=asked.results, only=only, marked=marked)
        shown = ShownHits(tuple(hits), NO_RERANK, place.gallery, asked.q)
        said = heading(f"Searched again with {counted(len(concept.marks), 'mark')}")
        return shown, said if hits else said + NOTHING_TO_SHOW

    def _still_indexing(self) -> str:
        """Say that the search saw a part of the gallery only; empty once all is indexed."""
        status = self.bench.status
        if status.phase is not Phase.INDEXING:
            return ""
        return part_searched(status.done, status.total)


def parts_of(asked: Asked, gallery: Gallery) -> list[QueryPart]:
    """Return the parts of a question: its words, the picture it is about, and more of it.

    Raises:
        QueryError: a picture is neither one of the gallery nor an upload, or a part makes no sense.
        ImageReadError: an upload cannot be read.
    """
    found = [QueryPart(asked.q)] if asked.q else []
    found += [QueryPart(image=gallery.path_of(asked.like))] if asked.like else []
    for part in asked.parts:
        what: dict[str, Any] = {"text": part.text}
        if not part.text:
            own = isabs(part.image)
            picture = read_upload(str(uploaded(part.image))) if own else None
            what = {"image": picture or gallery.path_of(part.image)}
        found.append(QueryPart(**what, weight=part.weight, wanted=part.wanted))
    return found


def paths_of(retriever: Retriever, only: SearchFilter | None) -> set[str]:
    """Return the paths of the pictures that pass a filter."""
    engine = retriever.engine
    passing = set(engine.ids(only).tolist())
    known = zip(engine.ids().tolist(), retriever.items, strict=True)
    return {item.path for one, item in known if item.path and one in passing}


def offered_file(path: str | None) -> str | None:
    """Offer the file of the open picture for download."""
    if not path:
        return None
    file = Path(path)
    if file.is_file():
        return offer_file(file.name, file.read_bytes())
    with told_to_visitors():  # a tile of a raster
        return offer_file(f"{file.stem}.png", png_of(read_picture(path)))


def type_choices(gallery: Gallery | None) -> dict[str, Any]:
    """Return what to choose from as a filter; hidden where a gallery has fewer than two types."""
    types = list(gallery.types) if gallery else []
    choices = [(ANY_TYPE, ANY_TYPE), *((type_in_words(name), name) for name in types)]
    return {"choices": choices, "visible": len(types) > 1}


def search_message(about_query: str | None, shown: ShownHits) -> str:
    """Return the notices above a result grid."""
    said = hint(about_query)
    if not shown.hits:
        return said + NOTHING_TO_SHOW
    said += DOUBTS.get(confidence(shown.hits), "")
    return said if shown.rerank == NO_RERANK else said + note(describe_moves(shown.hits))
