"""The tab *Search*: words in, pictures out."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from rsctir_hf.errors import RsctirError
from rsctir_hf.files.pictures import read_image
from rsctir_hf.search.retriever import Hit, Retriever, describe_query
from rsctir_hf.ui.server.events import MODEL, PRIVATE, item_of
from rsctir_hf.ui.server.own_pictures import FORGET_AFTER, OwnPictures, index_own_pictures
from rsctir_hf.ui.server.shown_gallery import Gallery
from rsctir_hf.ui.server.workbench import Phase, Workbench
from rsctir_hf.ui.tabs.why_here import regions_in_view
from rsctir_hf.ui.views.cards import notice
from rsctir_hf.ui.views.results import (
    NO_RERANK,
    NOT_CONFIDENT,
    RERANK_NAMES,
    describe_moves,
    picture_detail,
    picture_results,
)
from rsctir_hf.ui.views.samples import SELECT_ITEM
from rsctir_hf.ui.views.uploads import without_folders

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
RERANK_HELP = (
    "SMR and MR also ask how well each picture fits other sentences, so that pictures "
    "that fit everything move down."
)
MATCH_HELP = " Match reads picture and sentence together."
_SHOW_DETAIL = "() => document.querySelector('#rs-detail')?.scrollIntoView({block: 'nearest'})"
_WELCOME = notice(
    "info",
    "Describe a place as seen from above",
    "Type a sentence and press Enter, or take one of the examples.",
)


@dataclass(frozen=True)
class Shown:
    """What one visitor sees in a result grid: kept in that visitor's state.

    Attributes:
        hits: the results in order.
        rerank: how they were ordered.
        gallery: where they come from; None for the visitor's own pictures.
        words: what was asked; empty where a picture was.
    """

    hits: tuple[Hit, ...] = ()
    rerank: str = NO_RERANK
    gallery: Gallery | None = None
    words: str = ""


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
    ) -> tuple[str, str, Shown, Any]:
        """Return message, grid, what is shown, and the closed detail panel."""
        closed = gr.update(visible=False)
        try:
            hint = describe_query(query)
            retriever, gallery = self._collection(where, own)
            hits = retriever.search(
                query, top_k=int(top_k), rerank=rerank, temperature=temperature or None
            )
        except RsctirError as error:
            text = without_folders(error)
            return notice("error", "This search cannot be answered", text), "", Shown(), closed
        shown = Shown(tuple(hits), rerank, gallery, query.strip())
        message = search_message(hint, shown, confident=retriever.is_confident(hits))
        if gallery is not None:
            message += self._still_indexing()
        grid = picture_results(hits, gallery, rerank=rerank, label=f"Pictures for {query}")
        return message, grid, shown, closed

    def show(self, shown: Shown, event: gr.EventData) -> tuple[str, Any, str | None, str]:
        """Open the detail panel on the card that was clicked; ``why`` fills its last part."""
        hit = item_of(event, shown.hits)
        return (
            picture_detail(hit, shown.gallery, rerank=shown.rerank),
            gr.update(visible=True),
            hit.path,
            "",
        )

    def why(self, path: str | None) -> str:
        """Draw the regions of the opened result; nothing where no model shows regions."""
        try:
            picture = read_image(path or "")
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
            refused = notice("error", "These pictures were not added", without_folders(error))
            return None, refused, gr.update(value=GALLERY, interactive=False)
        kind = "warning" if own.skipped else "info"
        message = notice(kind, own.in_words())
        return own, message, gr.update(value=OWN, interactive=True)

    def picture(self, path: str | None) -> Image.Image | None:
        """Read the picture of the detail panel for another tab."""
        try:
            return read_image(path) if path else None
        except RsctirError as error:
            raise gr.Error(without_folders(error)) from error

    def result(self, path: str | None, shown: Shown) -> tuple[Image.Image | None, str]:
        """Return the picture of the detail panel and the words that found it."""
        return self.picture(path), shown.words

    def _still_indexing(self) -> str:
        """Say that the search saw a part of the gallery only; empty once all is indexed."""
        status = self.bench.status
        if status.phase is not Phase.INDEXING:
            return ""
        text = f"{status.done} of {status.total} pictures were ready. Search again for all of them."
        return notice("info", "A part of the gallery was searched", text)

    def _collection(self, where: str, own: OwnPictures | None) -> tuple[Retriever, Gallery | None]:
        if where == OWN and own is not None:
            return own.retriever, None
        return self.bench.retriever(), self.bench.gallery


def search_message(hint: str | None, shown: Shown, *, confident: bool) -> str:
    """Return the notices above a result grid."""
    parts = [notice("hint", "About your query", hint)] if hint else []
    if not shown.hits:
        parts.append(notice("warning", "Nothing to show", "There are no pictures to search yet."))
    elif not confident:
        parts.append(NOT_CONFIDENT)
    if shown.hits and shown.rerank != NO_RERANK:
        parts.append(f'<p class="rs-note">{describe_moves(shown.hits)}</p>')
    return "".join(parts)


@dataclass(frozen=True)
class SearchTab:
    """The components of the tab that others refer to."""

    rerank: gr.Radio
    find_similar: gr.Button
    region_graph: gr.Button
    shown: gr.State
    chosen: gr.State
    handlers: SearchHandlers


def rerank_update(*, can_match: bool) -> Any:  # noqa: ANN401 - a gradio update
    """Offer what the loaded model can do."""
    info = RERANK_HELP + (MATCH_HELP if can_match else "")
    return gr.update(choices=rerank_choices(can_match=can_match), info=info)


def rerank_choices(*, can_match: bool) -> list[tuple[str, str]]:
    """Return the rerank switch's (name, value) pairs; *Match* only where the model can."""
    pairs = [(name, value) for value, name in RERANK_NAMES.items()]
    return pairs if can_match else pairs[:-1]


def build_search_tab(bench: Workbench) -> SearchTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = SearchHandlers(bench)
    shown, chosen = gr.State(Shown()), gr.State(None)
    own = gr.State(None, time_to_live=FORGET_AFTER)
    with gr.Row(elem_classes="rs-ask", equal_height=True):
        query = gr.Textbox(
            label="What are you looking for?",
            placeholder=EXAMPLES[0],
            lines=1,
            max_lines=1,
            scale=5,
            min_width=240,
            elem_id="rs-query",
            autofocus=True,
        )
        button = gr.Button("Search", variant="primary", scale=0, min_width=120, elem_id="rs-go")
    with gr.Row(elem_classes="rs-chips"):
        chips = [gr.Button(text, size="sm", elem_classes="rs-chip") for text in EXAMPLES]
    with gr.Row(elem_classes="rs-controls"):
        rerank = gr.Radio(
            rerank_choices(can_match=False),
            value=NO_RERANK,
            label="Rerank",
            info=RERANK_HELP,
            elem_id="rs-rerank",
            scale=3,
        )
        top_k = gr.Slider(4, 48, value=12, step=4, label="Results", scale=2, min_width=200)
    temperature, where = _build_more(handlers, own)
    message = gr.HTML(_WELCOME, elem_id="rs-message")
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=3, min_width=300):
            grid = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-results")
        with gr.Column(
            visible=False, scale=2, min_width=300, elem_id="rs-detail", elem_classes="rs-panel"
        ) as panel:
            detail = gr.HTML("")
            with gr.Row():
                similar = gr.Button("Find similar", size="sm", min_width=80, elem_id="rs-similar")
                graph = gr.Button("Region graph", size="sm", min_width=80, elem_id="rs-graph")
                close = gr.Button("Close", size="sm", min_width=60, elem_id="rs-close")
            why = gr.HTML("", elem_id="rs-why")

    inputs = [query, rerank, top_k, temperature, where, own]
    outputs = [message, grid, shown, panel]
    for trigger in (query.submit, button.click):
        trigger(handlers.search, inputs, outputs, **MODEL)
    for trigger in (rerank.input, top_k.release, where.input):
        _when_asked(trigger, handlers, inputs, outputs)
    for chip in chips:
        chip.click(lambda text: text, chip, query, queue=False, **PRIVATE).then(
            handlers.search, inputs, outputs, **MODEL
        )
    opened = grid.select(handlers.show, shown, [detail, panel, chosen, why], **PRIVATE)
    opened.then(None, js=_SHOW_DETAIL, **PRIVATE)
    opened.then(handlers.why, chosen, why, **MODEL)
    close.click(lambda: gr.update(visible=False), None, panel, **PRIVATE)
    return SearchTab(rerank, similar, graph, shown, chosen, handlers)


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


def _when_asked(
    trigger: Callable[..., Any], handlers: SearchHandlers, inputs: list[Any], outputs: list[Any]
) -> None:
    """Search again when a control changes, unless nothing has been asked yet."""

    def search_again(query: str | None, *controls: Any) -> tuple[Any, ...]:  # noqa: ANN401
        if not query or not query.strip():
            return tuple(gr.skip() for _ in outputs)
        return handlers.search(query, *controls)

    trigger(search_again, inputs, outputs, **MODEL)
