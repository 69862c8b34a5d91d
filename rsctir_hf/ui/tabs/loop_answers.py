"""What *Search* does with a visitor's marks, parts, filters and collection."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from rsctir_hf.collection.collected import Collection
from rsctir_hf.collection.features import key_of
from rsctir_hf.errors import QueryError, RsctirError
from rsctir_hf.files.metadata import CATEGORY_NAMES
from rsctir_hf.search.concept import Concept
from rsctir_hf.search.facets import Facet, facets
from rsctir_hf.search.filter_advice import written
from rsctir_hf.search.folding import ALL
from rsctir_hf.search.hits import Hit
from rsctir_hf.ui.server.events import item_of, told_to_visitors
from rsctir_hf.ui.server.exports import check_collected, export_collection, feature_of
from rsctir_hf.ui.server.marked import Marks, concept_text, read_concept
from rsctir_hf.ui.server.messages import without_folders
from rsctir_hf.ui.server.own_pictures import OwnPictures
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.server.uploads import offer_file, uploaded
from rsctir_hf.ui.tabs.search_answers import Answer, Controls, SearchHandlers
from rsctir_hf.ui.views.address import Asked, AskedPart
from rsctir_hf.ui.views.cards import MADE_UP, notice, refusal
from rsctir_hf.ui.views.results import ShownHits
from rsctir_hf.ui.views.strips import (
    MOST_PLACES,
    collected_rows,
    collected_words,
    marks_strip,
    place_map,
)
from rsctir_hf.vector_index.contract import BoundingBox

AND, NOT = "and", "but not"
ROWS = 4  # of more parts of a query
PICTURE = "image:"  # before the name of a picture of the gallery in a row of words
_A_ROW = 4  # values: sign, words, picture, weight
_MOST_FACETS = 12  # columns whose values are offered


class LoopHandlers(SearchHandlers):
    """The rest of what the events of the tab call."""

    def act(
        self,
        shown: ShownHits,
        asked: Asked,
        marks: Marks,
        collection: Collection,
        event: gr.EventData,
    ) -> tuple[Any, ...]:
        """Mark a result good or bad, or collect it; once more takes it back."""
        hit = item_of(event, shown.hits)
        act = event._data.get("act")
        with told_to_visitors():
            if act == "keep":
                self._keep(hit, shown, asked, collection)
            elif hit.path and act in ("good", "bad"):
                marks.turn(hit.path, good=act == "good")
        return self._loop(marks, collection, shown)

    def take_back(
        self, shown: ShownHits, marks: Marks, collection: Collection, event: gr.EventData
    ) -> str:
        """Take back the mark that was pressed."""
        marks.kinds.pop(item_of(event, list(marks.kinds)), None)
        return marks_strip(marks.kinds, _names(shown), collection)

    def forget(self, shown: ShownHits, marks: Marks, collection: Collection) -> str:
        """Take all marks back."""
        marks.clear()
        return marks_strip({}, _names(shown), collection)

    def search_marked(self, query: str | None, *controls: Any) -> Answer:  # noqa: ANN401
        """Search again with the marks, and with the words that stand in the box."""
        given = Controls(*controls)
        names = self.bench.gallery.named if self.bench.gallery else {}
        if given.kept.like in names:  # what looks like it is asked for
            given.marks.kinds.setdefault(names[given.kept.like], True)
        kept = replace(given.kept, like="", page=1, open=0, marked=True)
        return self.answer(
            replace(kept, q=(query or "").strip(), type=given.type, results=int(given.top_k)), given
        )

    def save_concept(self, query: str | None, name: str | None, *controls: Any) -> str:  # noqa: ANN401
        """Offer the marks as the file of a concept."""
        given = Controls(*controls)
        with told_to_visitors():
            place = self._place(given)
            retriever = place.retriever or self.bench.retriever()
            named = (name or "").strip() or (query or "").strip() or "concept"
            concept = given.marks.learnt((query or "").strip(), retriever, name=named)
            file = "".join(each if each.isalnum() else "_" for each in named)[:60]
            return offer_file(f"{file}.json", concept_text(concept, place.gallery))

    def open_concept(
        self,
        file: str | None,
        collection: Collection,
        *controls: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """Go on with a concept from a file, and search for it."""
        given = Controls(*controls)
        try:
            place = self._place(given)
            retriever = place.retriever or self.bench.retriever()
            path = uploaded(file or "")
            text = path.read_bytes().decode("utf-8", errors="replace")
            concept = _read_named(text, path.name)
            given.marks.open(concept, retriever, place.gallery)
        except RsctirError as error:
            refused = refusal(error, "This concept was not opened")
            return gr.skip(), gr.skip(), refused, *[gr.skip()] * 5
        asked = replace(given.kept, q="", like="", parts=(), page=1, open=0, marked=True)
        answer = self.answer(replace(asked, results=int(given.top_k)), given)
        strip = marks_strip(given.marks.kinds, place.gallery.names, collection)
        return strip, concept.words or "", *answer

    def compose(self, query: str | None, *values: Any) -> Answer:  # noqa: ANN401
        """Answer words and what stands in the rows below them; the controls come first."""
        cut = len(values) - ROWS * _A_ROW
        given = Controls(*values[:cut])
        asked = replace(
            given.kept,
            q=(query or "").strip(),
            parts=read_rows(values[cut:]),
            type=given.type,
            rerank=given.rerank,
            results=int(given.top_k),
            page=1,
            open=0,
            marked=False,
        )
        return self.answer(asked, given)

    def narrow(self, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Answer anew under other filters, which come last; say what there is to choose from."""
        *controls, conditions, box, after, before, fold = values
        given = Controls(*controls)
        asked = replace(
            given.kept,
            where=tuple(conditions or ()),
            bbox=(box or "").strip(),
            after=(after or "").strip(),
            before=(before or "").strip(),
            fold=ALL if fold else "",
            page=1,
            open=0,
        )
        if asked == given.kept:  # a field was left as it was
            return (gr.skip(),) * 8
        answer = self.answer(asked, given)
        return *answer, *self.offer(asked, given.where, given.own)

    def offer(self, asked: Asked, where: str, own: OwnPictures | None) -> tuple[Any, ...]:
        """Return the conditions to choose from with their counts, and the map."""
        try:
            place = self._place(Controls(where=where, own=own))
            retriever = place.retriever or self.bench.retriever()
            only = place.only(asked, retriever)
            box = BoundingBox.read(asked.bbox) if asked.bbox else None
        except RsctirError:  # the answer says it
            return gr.skip(), gr.skip()
        engine = retriever.engine
        choices = conditions_of(facets(engine, only=only))
        known = {value for _, value in choices}
        choices += [(each, each) for each in asked.where if each not in known]
        entries = engine.entries_of(engine.ids(most=MOST_PLACES))
        boxes = [entry.box for entry in entries if entry.box]
        drawn = place_map(boxes, box, made_up=MADE_UP if place.gallery.drawn else "")
        return gr.update(choices=choices, value=list(asked.where)), drawn

    def undo(self, shown: ShownHits, marks: Marks, collection: Collection) -> tuple[Any, ...]:
        """Take the last action on the collection back."""
        with told_to_visitors():
            collection.undo()
        return self._loop(marks, collection, shown)

    def note(self, rows: Sequence[Sequence[Any]], shown: ShownHits, collection: Collection) -> None:
        """Keep what was written into the table as notes; its rows may be in another order."""
        written = {row[0]: str(row[-1] or "") for row in rows if row}
        old = collected_rows(collection, _names(shown))
        with told_to_visitors():
            for feature, (name, _, note) in zip(collection.features, old, strict=True):
                if written.get(name, note) != note:
                    collection.note(key_of(feature), written[name])

    def take_home(
        self,
        name: str | None,
        form: str,
        collection: Collection,
        where: str,
        own: OwnPictures | None,
    ) -> tuple[str, str]:
        """Offer the collection as a file; say what there is to know of it."""
        with told_to_visitors():
            place = self._place(Controls(where=where, own=own))
            collection.name = (name or "").strip() or "collection"
            file, notes = export_collection(
                collection,
                form,
                retriever=place.retriever or self.bench.retriever(),
                gallery=place.gallery,
            )
        said = collected_words(collection)
        return file, notice("info", said, " ".join(map(without_folders, notes)))

    def _keep(self, hit: Hit, shown: ShownHits, asked: Asked, collection: Collection) -> None:
        feature = feature_of(hit, words=shown.words)
        if key_of(feature) in map(key_of, collection.features):
            collection.remove(key_of(feature))
            return
        check_collected(collection)
        link = asked.link(*type_condition(shown.gallery, asked.type)) if asked.asks else ""
        collection.add([feature], link=link)

    def _loop(self, marks: Marks, collection: Collection, shown: ShownHits) -> tuple[Any, ...]:
        strip = marks_strip(marks.kinds, _names(shown), collection)
        return (
            strip,
            collected_rows(collection, _names(shown)),
            notice("info", collected_words(collection)),
        )


def read_rows(values: Sequence[Any]) -> tuple[AskedPart, ...]:
    """Return the parts that stand in rows of sign, words, picture and weight."""
    found: list[AskedPart] = []
    for start in range(0, len(values), _A_ROW):
        sign, words, picture, weight = values[start : start + _A_ROW]
        how: dict[str, Any] = {"wanted": sign != NOT, "weight": 1.0 if weight is None else weight}
        said = (words or "").strip()
        named = said.removeprefix(PICTURE).strip() if said.startswith(PICTURE) else ""
        found += [AskedPart("" if named else said, named, **how)] if said else []
        found += [AskedPart(image=picture, **how)] if picture else []
    return tuple(found)


def shown_rows(parts: Sequence[AskedPart]) -> list[Any]:
    """Return what stands in the rows for the first parts of an address."""
    rows = list(parts[:ROWS])
    rows += [AskedPart(wanted=place % 2 == 0) for place in range(len(rows), ROWS)]
    return [value for part in rows for value in _row_of(part)]


def _row_of(part: AskedPart) -> list[Any]:
    said = part.text or (f"{PICTURE} {part.image}" if part.image else "")
    return [AND if part.wanted else NOT, said, None, part.weight]


def controls_of(asked: Asked) -> list[Any]:
    """Return what stands in the filters and rows after an address was read."""
    conditions = gr.update(choices=[(each, each) for each in asked.where], value=list(asked.where))
    filters = [conditions, asked.bbox, asked.after, asked.before, bool(asked.fold)]
    return [*filters, *shown_rows(asked.parts)]


def drawn_box(event: gr.EventData) -> str:
    """Return the box that was drawn on the map, as four numbers; empty where it was only a click.

    Raises:
        gr.Error: the event does not come from the page.
    """
    data = event._data.get("box") if isinstance(event._data, dict) else None
    if not isinstance(data, list) or not all(isinstance(each, int | float) for each in data):
        raise gr.Error("No box was drawn. Drag one over the map.", print_exception=False)
    with told_to_visitors():
        return ",".join(f"{each:.6g}" for each in BoundingBox(*data).corners) if data else ""


def conditions_of(found: Sequence[Facet]) -> list[tuple[str, str]]:
    """Return the conditions that columns offer: words with a count, and as ``--where`` has them."""
    return [
        (f"{facet.name}: {value} ({count})", f"{facet.name}={written(value)}")
        for facet in found[:_MOST_FACETS]
        for value, count in facet.values
    ]


def type_condition(gallery: Gallery | None, kind: str) -> list[str]:
    """Return the condition that a scene type is, or nothing."""
    if gallery is None or kind not in gallery.types:
        return []
    said = gallery.record(gallery.types[kind][0]).metadata
    column = next((name for name in CATEGORY_NAMES if said.get(name) == kind), None)
    return [f"{column}={written(kind)}"] if column else []


def _names(shown: ShownHits) -> dict[str, str]:
    return dict(shown.gallery.names) if shown.gallery else {}


def _read_named(text: str, name: str) -> Concept:
    """Read a concept; an error names the file that was given."""
    try:
        return read_concept(text)
    except QueryError as error:
        raise QueryError(str(error).replace("concept.json", name)) from error
