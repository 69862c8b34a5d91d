"""The tab *Picture*: a picture in, sentences and similar pictures out."""

import gradio as gr
from PIL import Image

from rsctir_hf.errors import RsctirError
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.search.retriever import confidence
from rsctir_hf.ui.server.events import MODEL, PRIVATE, Trigger, item_of
from rsctir_hf.ui.server.uploads import read_upload
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.controls import QueryTab, build_rerank
from rsctir_hf.ui.views.cards import heading, notice
from rsctir_hf.ui.views.results import (
    DOUBTS,
    ShownHits,
    caption_results,
    for_pictures,
    picture_results,
)
from rsctir_hf.ui.views.samples import SELECT_ITEM, PictureChooser, picture_refusal

CAPTIONS, SIMILAR = 5, 12
_WELCOME = notice(
    "info",
    "Give a picture",
    "The sentences that fit it best and the pictures most like it appear here.",
)


class PictureHandlers:
    """What the events of the tab call."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def describe(self, path: str | None, rerank: str) -> tuple[str, str]:
        """Return a message and the sentences that fit the picture best."""
        if not path:
            return _WELCOME, ""
        try:
            retriever = self.bench.retriever()
            hits = retriever.caption_candidates(read_upload(path), top_k=CAPTIONS, rerank=rerank)
        except RsctirError as error:
            return picture_refusal(error), ""
        message = DOUBTS.get(confidence(hits), "")
        sentences = caption_results(hits, rerank=rerank)
        return message, heading("Sentences that fit best") + sentences

    def similar(self, path: str | None, rerank: str) -> tuple[str, ShownHits]:
        """Return the pictures of the gallery that are most like this one."""
        if not path:
            return "", ShownHits()
        try:
            picture = read_upload(path)
            order = for_pictures(rerank)
            hits = self.bench.retriever().search(image=picture, top_k=SIMILAR, rerank=order)
        except RsctirError:
            return "", ShownHits()  # ``describe`` says what is wrong
        shown = ShownHits(tuple(hits), order, self.bench.gallery)
        cards = picture_results(shown, label="Similar pictures")
        return heading("Most similar pictures in the gallery") + cards, shown

    def take_result(self, shown: ShownHits, event: gr.EventData) -> Image.Image | None:
        """Return the similar picture that was clicked, as the next query."""
        path = item_of(event, shown.hits).path
        return read_picture(path) if path else None


def build_picture_tab(bench: Workbench) -> QueryTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = PictureHandlers(bench)
    shown = gr.State(ShownHits())
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=2, min_width=300):
            chooser = PictureChooser(
                bench, "rs-picture", alt_text="The picture you gave", height=320
            )
            rerank = build_rerank("rs-picture-rerank")
        with gr.Column(scale=3, min_width=300):
            message = gr.HTML(_WELCOME, elem_id="rs-picture-message")
            sentences = gr.HTML("", elem_id="rs-captions")
    with gr.Column():
        grid = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-similar-results")

    def answer(trigger: Trigger) -> None:
        # Similar pictures first: sentences may have to wait until the caption bank is embedded.
        asked = [chooser.picture, rerank]
        trigger(handlers.similar, asked, [grid, shown], **MODEL).then(
            handlers.describe, asked, [message, sentences], **MODEL
        )

    taken = grid.select(handlers.take_result, shown, chooser.picture, **PRIVATE)
    asking: tuple[Trigger, ...] = (*chooser.given, rerank.input, taken.success)
    for trigger in asking:
        answer(trigger)
    return QueryTab(chooser, rerank, answer)
