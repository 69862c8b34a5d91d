"""The tab *Search*: words in, pictures out."""

import logging
from typing import Any

import gradio as gr
from PIL import Image

from rsctir_hf.errors import RsctirError
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.search.retriever import confidence, describe_query
from rsctir_hf.ui.server.events import MODEL, PRIVATE, item_of, told_to_visitors
from rsctir_hf.ui.server.limits import FORGET_AFTER
from rsctir_hf.ui.server.own_pictures import OwnPictures, index_own_pictures
from rsctir_hf.ui.server.workbench import Phase, Workbench
from rsctir_hf.ui.tabs.controls import DetailPanel, QueryBox, ResultTab, build_rerank
from rsctir_hf.ui.views.cards import hint, note, notice, refusal
from rsctir_hf.ui.views.results import (
    DOUBTS,
    NO_RERANK,
    ShownHits,
    describe_moves,
    picture_detail,
    picture_results,
)
from rsctir_hf.ui.views.samples import SELECT_ITEM
from rsctir_hf.ui.views.why_here import regions_in_view

logger = logging.getLogger(__name__)

EXAMPLES = (
    "many boats are docked neatly at the harbor",
    "some planes at the airport",
    "two tennis courts between trees",
    "white storage tanks on bare ground",
    "lots of cars in a parking lot",
    "a golf course with bunkers",
)
GALLERY, OWN = "Gallery", "Your pictures"
_WELCOME = notice(
    "info",
    "Describe a place as seen from above",
    "Type a sentence and press Enter, or take one of the examples.",
)


class SearchHandlers:
    """What the events of the tab call; each returns new values for its outputs."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def search(
        self,
        query: str,
        rerank: str,
        top_k: float,
        temperature: float | None,
        where: str,
        own: OwnPictures | None,
    ) -> tuple[str, str, ShownHits, Any]:
        """Return message, grid, what is shown, and the closed detail panel."""
        closed = gr.update(visible=False)
        try:
            about_query = describe_query(query)
            retriever, gallery = self.bench.retriever(), self.bench.gallery
            if where == OWN and own is not None:
                retriever, gallery = own.retriever, None
            hits = retriever.search(
                query, top_k=int(top_k), rerank=rerank, temperature=temperature or None
            )
        except RsctirError as error:
            return refusal(error), "", ShownHits(), closed
        shown = ShownHits(tuple(hits), rerank, gallery, query.strip())
        message = search_message(about_query, shown)
        if gallery is not None:
            message += self._still_indexing()
        grid = picture_results(shown, label=f"Pictures for {query}")
        return message, grid, shown, closed

    def show(self, shown: ShownHits, event: gr.EventData) -> tuple[str, Any, str | None, str]:
        """Open the detail panel on the card that was clicked; ``why`` fills its last part."""
        hit = item_of(event, shown.hits)
        return picture_detail(hit, shown), gr.update(visible=True), hit.path, ""

    def why(self, path: str | None) -> str:
        """Draw the regions of the opened result; nothing where no model shows regions."""
        try:
            picture = read_picture(path or "")
            return regions_in_view(self.bench.region_retriever(), picture)
        except RsctirError as error:
            logger.info("No regions below a result: %s", error)
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

    def _still_indexing(self) -> str:
        """Say that the search saw a part of the gallery only; empty once all is indexed."""
        status = self.bench.status
        if status.phase is not Phase.INDEXING:
            return ""
        text = f"{status.done} of {status.total} pictures were ready. Search again for all of them."
        return notice("info", "A part of the gallery was searched", text)


def search_message(about_query: str | None, shown: ShownHits) -> str:
    """Return the notices above a result grid."""
    said = hint(about_query)
    if not shown.hits:
        return said + notice("warning", "Nothing to show", "There are no pictures to search yet.")
    said += DOUBTS.get(confidence(shown.hits), "")
    return said if shown.rerank == NO_RERANK else said + note(describe_moves(shown.hits))


def build_search_tab(bench: Workbench) -> ResultTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = SearchHandlers(bench)
    shown, chosen = gr.State(ShownHits()), gr.State(None)
    own = gr.State(None, time_to_live=FORGET_AFTER)
    query = QueryBox("What are you looking for?", EXAMPLES, "rs", min_width=240, autofocus=True)
    with gr.Row(elem_classes="rs-controls"):
        rerank = build_rerank("rs-rerank", scale=3)
        top_k = gr.Slider(4, 48, value=12, step=4, label="Results", scale=2, min_width=200)
    temperature, where = _build_more(handlers, own)
    message = gr.HTML(_WELCOME, elem_id="rs-message")
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=3, min_width=300):
            grid = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-results")
        detail = DetailPanel("rs")
        with detail.whole:
            why = gr.HTML("", elem_id="rs-why")

    inputs = [query.words, rerank, top_k, temperature, where, own]
    outputs = [message, grid, shown, detail.whole]
    for trigger in query.asked:
        trigger(handlers.search, inputs, outputs, **MODEL)

    def search_again(query: str | None, *controls: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Search again when a control changes, unless nothing has been asked yet."""
        if not query or not query.strip():
            return tuple(gr.skip() for _ in outputs)
        return handlers.search(query, *controls)

    for trigger in (rerank.input, top_k.release, where.input):
        trigger(search_again, inputs, outputs, **MODEL)
    opened = grid.select(
        handlers.show, shown, [detail.content, detail.whole, chosen, why], **PRIVATE
    )
    opened.then(None, js=detail.into_view, **PRIVATE)
    opened.then(handlers.why, chosen, why, **MODEL)
    return ResultTab(rerank, detail, [chosen, shown], handlers.result)


def _build_more(handlers: SearchHandlers, own: gr.State) -> tuple[gr.Number, gr.Radio]:
    with gr.Row(elem_classes="rs-more"):
        with gr.Accordion("Search your own pictures", open=False):
            uploads = gr.File(
                label="Pictures (only you see them)",
                file_count="multiple",
                height=150,
                elem_id="rs-uploads",
            )
            where = gr.Radio([GALLERY, OWN], value=GALLERY, label="Search in", interactive=False)
            report = gr.HTML("")
        with gr.Accordion("Advanced", open=False):
            temperature = gr.Number(
                value=None,
                label="SMR temperature",
                info="Smaller follows the best sentences more closely. Empty: the model's own.",
                minimum=0,
                maximum=10,
                step=0.01,
            )
    uploads.change(handlers.add_pictures, uploads, [own, report, where], **MODEL)
    return temperature, where
