"""The tab *Picture*: a picture in, sentences and similar pictures out."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from rsctir_hf.errors import RsctirError
from rsctir_hf.geo.raster import PLAIN_FORMATS, open_raster
from rsctir_hf.search.gallery import read_picture
from rsctir_hf.search.retriever import confidence
from rsctir_hf.ui.server.events import MODEL, PRIVATE, SELECTION, Trigger, item_of, told_to_visitors
from rsctir_hf.ui.server.limits import MAX_SCENE_PIXELS
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.controls import DetailPanel, QueryTab, ResultTab, arriving, build_rerank
from rsctir_hf.ui.tabs.search_answers import offered_file
from rsctir_hf.ui.views.cards import heading
from rsctir_hf.ui.views.notices import GIVE_PICTURE, PLACED
from rsctir_hf.ui.views.results import (
    DOUBTS,
    ShownHits,
    caption_results,
    for_pictures,
    picture_detail,
    picture_results,
    without,
)
from rsctir_hf.ui.views.samples import SELECT_ITEM, PictureChooser, picture_refusal, read_given

CAPTIONS, SIMILAR = 5, 12


@dataclass(frozen=True)
class PictureTab:
    """What the page refers to of this tab: what is asked, the results, the way to *Scene*."""

    query: QueryTab
    results: ResultTab
    to_scene: gr.Button


class PictureHandlers:
    """What the events of the tab call."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def describe(self, path: str | None, rerank: str) -> tuple[str, str, Any]:
        """Return a message, the sentences that fit the picture best, and the way to *Scene*."""
        if not path:
            return GIVE_PICTURE, "", gr.update(visible=False)
        placed = is_placed(path)
        said, way = PLACED if placed else "", gr.update(visible=placed)
        try:
            retriever = self.bench.retriever()
            hits = retriever.caption_candidates(read_given(path), top_k=CAPTIONS, rerank=rerank)
        except RsctirError as error:
            return picture_refusal(error) + said, "", way
        sentences = caption_results(hits, rerank=rerank)
        said += DOUBTS.get(confidence(hits), "")
        return said, heading("Sentences that fit best") + sentences, way

    def similar(self, path: str | None, rerank: str) -> tuple[str, ShownHits]:
        """Return the pictures of the gallery that are most like this one, itself left out."""
        if not path:
            return "", ShownHits()
        try:
            order = for_pictures(rerank)
            hits = self.bench.retriever().search(
                image=read_given(path), top_k=SIMILAR + 1, rerank=order
            )
        except RsctirError:
            return "", ShownHits()  # ``describe`` says what is wrong
        shown = ShownHits(tuple(without(path, hits)[:SIMILAR]), order, self.bench.gallery)
        cards = picture_results(shown, label="Similar pictures")
        return heading("Most similar pictures in the gallery") + cards, shown

    def show(self, shown: ShownHits, event: gr.EventData) -> tuple[str, str | None]:
        """Open the similar picture that was clicked; return its detail and its path."""
        hit = item_of(event, shown.hits)
        return picture_detail(hit, shown), hit.path

    def take_result(self, path: str | None) -> tuple[Image.Image | None, str | None]:
        """Return the open picture as the next query."""
        with told_to_visitors():
            return (read_picture(path) if path else None), path


def is_placed(path: str) -> bool:
    """Tell whether a file says where on the Earth it lies."""
    try:
        raster = open_raster(path, formats=PLAIN_FORMATS, most_pixels=MAX_SCENE_PIXELS)
        return raster.to_lonlat(np.zeros((1, 2))) is not None
    except RsctirError:
        return False


def build_picture_tab(bench: Workbench) -> PictureTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = PictureHandlers(bench)
    shown, chosen = gr.State(ShownHits()), gr.State(None)
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=2, min_width=300):
            chooser = PictureChooser(
                bench, "rs-picture", alt_text="The picture you gave", height=320
            )
            with gr.Accordion("More options", open=False):
                rerank = build_rerank("rs-picture-rerank")
        with gr.Column(scale=3, min_width=300):
            message = gr.HTML(GIVE_PICTURE, elem_id="rs-picture-message")
            to_scene = gr.Button("Open it in Scene", visible=False, elem_id="rs-to-scene")
            sentences = gr.HTML("", elem_id="rs-captions")
    with gr.Column():
        grid = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-similar-results")
    detail = DetailPanel("rs-picture", grid="rs-similar-results")

    def answer(trigger: Trigger) -> None:
        # Similar pictures first: sentences may have to wait until the caption bank is embedded.
        asked = [chooser.source, rerank]
        trigger(handlers.similar, asked, [grid, shown], **MODEL).then(
            handlers.describe, asked, [message, sentences, to_scene], **MODEL
        ).then(**arriving("rs-picture-message"))

    grid.select(handlers.show, shown, [detail.content, chosen], **SELECTION)
    detail.offer(offered_file, [chosen])
    taken = detail.similar.click(
        handlers.take_result, chosen, [chooser.picture, chooser.source], **PRIVATE
    )
    asking: tuple[Trigger, ...] = (*chooser.given, rerank.input, taken.success)
    for trigger in asking:
        answer(trigger)
    results = ResultTab(rerank, detail, [chosen], lambda path: (handlers.take_result(path)[0], ""))
    return PictureTab(QueryTab(chooser, rerank, answer), results, to_scene)
