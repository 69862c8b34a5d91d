"""The named endpoints of the analyst's loop: ask in parts, filter, mark, search again, take home.

Several values are given as lines of one text, which every client and language model can write.
Nothing is remembered between calls: a concept goes out and comes back as its JSON.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from rsctir_hf.collection.collected import Collection
from rsctir_hf.collection.features import TakenHome
from rsctir_hf.collection.take_home import FORMATS
from rsctir_hf.errors import QueryError
from rsctir_hf.search.facets import dated, facets
from rsctir_hf.search.filter_advice import filter_advice
from rsctir_hf.search.folding import ALL
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.query import describe_parts
from rsctir_hf.search.retriever import QueryPart, Retriever
from rsctir_hf.search.written_filters import read_dates, read_filter
from rsctir_hf.ui.endpoints import Endpoints, limited, public
from rsctir_hf.ui.server.events import told_to_visitors
from rsctir_hf.ui.server.exports import check_collected, export_collection
from rsctir_hf.ui.server.marked import Marks, concept_text, read_concept
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.server.uploads import picture_input, read_upload
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.views.results import NO_RERANK
from rsctir_hf.vector_index.contract import SearchFilter

_KINDS = {"text": (True, False), "not": (False, False), "image": (True, True)}
_KINDS |= {"not_image": (False, True)}  # by name: wanted, a picture
_ONCE = ("bbox", "after", "before")


class LoopEndpoints(Endpoints):
    """What clients call beside the plain searches; answers and errors are as there."""

    def find_composed(
        self,
        parts: str = "",
        picture: str | None = None,
        only: str = "",
        fold: str = ALL,
        top_k: int = 5,
    ) -> dict[str, Any]:
        """Find pictures by several words and pictures at once, without what is not wanted.

        "Like this one, but with boats and not sand" is the three lines: image: pier_1.jpg and boats
        and not: sand.

        Args:
            parts: what is asked for, one part a line: English words for what pictures show; not:
                before words for what they must not show; image: before the name of a picture of
                the gallery that they should be like, as results say it; not_image: before one that
                they should not be like. A weight may follow a |, such as: boats | 0.5.
            picture: a picture of your own that they should be like, as a data: URI or an upload.
            only: which pictures may be found, one condition a line: class=harbor, gsd<=0.5 or
                place~=bay for what list_filters lists; bbox=west,south,east,north in degrees;
                after=2024-05 and before=2024-06 for dates.
            fold: all leaves out copies of a better picture; tiles, or none.
            top_k: how many pictures, 1 to 100.

        Returns:
            The results, best first: rank, score, name, caption, and merged, how many it stands for.
        """
        with told_to_visitors():
            retriever, gallery = self._opened()
            asked = [read_part(line, gallery) for line in lines(parts)]
            asked += [QueryPart(image=read_upload(picture))] if picture else []
            passing = read_only(only, retriever)
            found = retriever.folding(fold)
            hits = found.search(asked, top_k=limited(top_k), only=passing)
            hint = describe_parts(asked)
            hint = hint if hits else filter_advice(retriever.engine, passing)
        return self._answer(hits, NO_RERANK) | {"hint": hint}

    def find_by_labels(self, labels: str = "", only: str = "", top_k: int = 5) -> dict[str, Any]:
        """Find pictures of the gallery by labels of what they show, instead of by a sentence.

        Use it to count things in or out for certain: ship and dock and not sand.

        Args:
            labels: labels with and, or, not and brackets. A label that is not known is answered
                with those that are; models that ship know airplane, bare-soil, buildings, cars,
                chaparral, court, dock, field, grass, mobile-home, pavement, sand, sea, ship, tanks,
                trees and water.
            only: which pictures may be found; see find_composed.
            top_k: how many pictures, 1 to 100.

        Returns:
            The results, best first: rank, score (how likely it fulfils all of it), name, caption.
        """
        with told_to_visitors():
            retriever, _ = self._opened()
            passing = read_only(only, retriever)
            hits = retriever.labels.find(labels, top_k=limited(top_k), only=passing)
        return self._answer(hits, NO_RERANK)

    def list_filters(self, only: str = "") -> dict[str, Any]:
        """List what pictures of the gallery can be filtered by, with values and counts.

        Args:
            only: count only pictures that meet these conditions; see find_composed.

        Returns:
            How many pictures there are and pass, and each column: its name, kind (text, number,
            truth, date or mixed), its most frequent values with counts, its lowest and highest.
        """
        with told_to_visitors():
            retriever, _ = self._opened()
            asked, engine = read_only(only, retriever), retriever.engine
            found = [asdict(facet) for facet in facets(engine, only=asked)]
            passing = len(engine.ids(asked))
        return {"pictures": len(retriever), "passing": passing, "columns": found}

    def search_again(
        self,
        words: str = "",
        good: str = "",
        bad: str = "",
        concept: str = "",
        only: str = "",
        top_k: int = 5,
    ) -> dict[str, Any]:
        """Learn from pictures that were marked good and bad what is looked for, and find it.

        Use it where words alone do not find a thing: look at the results of a search, name those
        that are right and wrong, and call again with the concept that came back and new marks.
        Marked pictures are left out of the results. Without good pictures, words are needed.

        Args:
            words: English words for what is looked for, if it can be said.
            good: names of pictures of the gallery that show it, one a line.
            bad: names of pictures that do not, one a line.
            concept: what an earlier call returned as concept, to go on with it.
            only: which pictures may be found; see find_composed.
            top_k: how many pictures, 1 to 100.

        Returns:
            The results, best first, and the concept: a JSON text to give back, or to keep as a file
            for rsctir search --concept.
        """
        with told_to_visitors():
            retriever, gallery = self._opened()
            marks = Marks()
            if concept.strip():
                marks.open(read_concept(concept), retriever, gallery)
            if both := set(lines(good)) & set(lines(bad)):
                raise QueryError(f"Marked both good and bad: {', '.join(sorted(both))}.")
            for names, kind in ((good, True), (bad, False)):
                for path in [gallery.path_of(each) for each in lines(names)]:
                    if marks.kinds.get(path) is not kind:
                        marks.turn(path, good=kind)
            learnt = marks.learnt(words.strip(), retriever, name=words.strip())
            passing = read_only(only, retriever)
            hits = retriever.concepts.find(learnt, top_k=limited(top_k), only=passing)
            text = concept_text(learnt, gallery)
        return self._answer(hits, NO_RERANK) | {"concept": text}

    def export_pictures(
        self, pictures: str, form: str = "geojson", title: str = "collection"
    ) -> str:
        """Write a collection of pictures of the gallery to a file for other programs.

        Args:
            pictures: names of pictures as results say them, one a line; what follows a | is a note
                on it, such as: pier_1.jpg | rebuilt in 2024.
            form: zip (the pictures and a CSV), csv, geojson, geoparquet, stac, html (a contact
                sheet) or json.
            title: of the collection.

        Returns:
            The file.
        """
        with told_to_visitors():
            retriever, gallery = self._opened()
            collection = Collection(title.strip() or "collection")
            asked = [line.partition("|") for line in lines(pictures)]
            check_collected(collection, len(asked))
            paths = [gallery.path_of(name.strip()) for name, _, _ in asked]
            collection.add(TakenHome.of_hits(_hits_of(paths, retriever)).features)
            for path, (_, _, note) in zip(paths, asked, strict=True):
                if note.strip():
                    collection.note(path, note.strip())
            file, _ = export_collection(collection, form, retriever=retriever, gallery=gallery)
        return file

    def _opened(self) -> tuple[Retriever, Gallery]:
        retriever = self.bench.retriever()
        return retriever, self.bench.gallery or Gallery("", "", ())


def lines(text: str) -> list[str]:
    """Return the lines of a text that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_part(line: str, gallery: Gallery) -> QueryPart:
    """Read one part of a query: ``not: sand | 0.5``.

    Raises:
        QueryError: it makes no sense, or there is no such picture.
    """
    said, bar, weight = line.rpartition("|")
    said = said if bar else line
    kind, colon, what = said.partition(":")
    known = colon and kind.strip() in _KINDS
    wanted, pictured = _KINDS[kind.strip()] if known else (True, False)
    given = (what if known else said).strip()
    try:
        counts = float(weight) if bar else 1.0
    except ValueError as error:
        raise QueryError(f"{line!r} has no number after its |, such as: boats | 0.5.") from error
    asked: dict[str, Any] = {"image": gallery.path_of(given)} if pictured else {"text": given}
    return QueryPart(**asked, weight=counts, wanted=wanted)


def read_only(text: str, retriever: Retriever) -> SearchFilter | None:
    """Read a filter, a condition a line; raises ``QueryError`` where it makes no sense."""
    said = dict.fromkeys(_ONCE, "")
    where = []
    for line in lines(text):
        name, equals, value = line.partition("=")
        if equals and name.strip() in said:
            said[name.strip()] = value.strip()
        else:
            where.append(line)
    bbox, after, before = (said[name] or None for name in _ONCE)
    return dated(retriever.engine, read_filter(where, bbox), read_dates(after, before))


def _hits_of(paths: list[str], retriever: Retriever) -> list[Hit]:
    """Return pictures as hits that nobody asked for, in their order."""
    wanted = dict.fromkeys(paths)
    known = {item.path: item for item in retriever.items if item.path in wanted}
    return [
        Hit(0, path, item.caption, 0.0, rank, rank, None, item.metadata, item.box)
        for rank, path in enumerate(wanted, start=1)
        if (item := known.get(path))
    ]


def build_loop_endpoints(bench: Workbench) -> None:
    """Register the endpoints; their components are never shown."""
    calls = LoopEndpoints(bench)

    def text(label: str, value: str = "") -> gr.Textbox:
        return gr.Textbox(value, label=label)

    with gr.Column(visible=False):
        only, top_k = text("Conditions, one a line"), gr.Number(5, precision=0, label="Results")
        composed = [text("Parts, one a line"), picture_input("Picture")]
        fold, labels = text("all, tiles or none", ALL), text("Labels")
        marked = [text("Words"), text("Good, a name a line"), text("Bad, a name a line")]
        marked += [text("Concept, as JSON")]
        exported = [text("Pictures, a name a line"), text(", ".join(FORMATS), "geojson")]
        exported += [text("Name of the collection", "collection")]
        answer, file, button = gr.JSON(label="Answer"), gr.File(label="File"), gr.Button("Call")
    signatures: dict[str, tuple[Callable[..., Any], list[Any], Any]] = {
        "composed_query": (calls.find_composed, [*composed, only, fold, top_k], answer),
        "labels": (calls.find_by_labels, [labels, only, top_k], answer),
        "filters": (calls.list_filters, [only], answer),
        "marks": (calls.search_again, [*marked, only, top_k], answer),
        "export": (calls.export_pictures, exported, file),
    }
    for name, (call, inputs, output) in signatures.items():
        button.click(call, inputs, output, **public(name))
