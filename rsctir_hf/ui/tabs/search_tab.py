"""The tab *Search*: words in, pictures out; before any words, the gallery to browse."""

import gradio as gr

from rsctir_hf.ui.server.events import MODEL, PRIVATE, REDRAW, SELECTION
from rsctir_hf.ui.server.limits import FORGET_AFTER
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.controls import DetailPanel, QueryBox, ResultTab, build_rerank
from rsctir_hf.ui.tabs.label_panel import LabelPanel
from rsctir_hf.ui.tabs.loop_answers import LoopHandlers, controls_of
from rsctir_hf.ui.tabs.loop_panels import Bound, LoopPanel, QueryPanel
from rsctir_hf.ui.tabs.search_answers import (
    ANY_TYPE,
    GALLERY,
    OWN,
    Launched,
    Visit,
    offered_file,
    type_choices,
)
from rsctir_hf.ui.views.address import MOST_RESULTS, RESULTS, Asked
from rsctir_hf.ui.views.cards import acts
from rsctir_hf.ui.views.results import NO_RERANK, SMR, ShownHits
from rsctir_hf.ui.views.samples import FOLLOW_ADDRESS, SELECT_ITEM

EXAMPLES = (
    "boats moored beside a pier",
    "planes at an airport",
    "two tennis courts",
    "white storage tanks",
    "cars in a parking lot",
    "a golf course with bunkers",
)
_OPTIONS_SWITCH = (
    '<button type="button" id="rs-options-switch" aria-expanded="false" '
    'aria-controls="rs-options">More options</button>'
)
_SWITCHED = SMR  # what the switch beside the query stands for


def build_search_tab(bench: Workbench, tabs: gr.Tabs) -> tuple[ResultTab, Launched]:
    """Lay the tab out and bind its events; call inside ``gr.Tab`` of ``tabs``."""
    handlers = LoopHandlers(bench)
    shown, asked, chosen = gr.State(ShownHits()), gr.State(Asked()), gr.State(None)
    own = gr.State(None, time_to_live=FORGET_AFTER)
    query = QueryBox("What are you looking for?", EXAMPLES, "rs", min_width=240)
    with gr.Row(elem_classes="rs-slim"):
        smr = gr.Checkbox(
            False, label="Rerank (SMR)", container=False, elem_id="rs-smr", min_width=130, scale=0
        )
        kind = gr.Dropdown(
            value=ANY_TYPE,
            label="Scene type",
            container=False,
            elem_id="rs-type",
            min_width=180,
            scale=0,
            **type_choices(None),
        )
        gr.HTML(_OPTIONS_SWITCH)
    options = _Options(handlers, own)
    more, loop = options.more, LoopPanel()
    message = gr.HTML("", elem_id="rs-message")
    grid = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-results")
    pages = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-pages")
    loop.build_below()
    address = gr.HTML("", js_on_load=FOLLOW_ADDRESS, elem_id="rs-address")
    detail = DetailPanel("rs", grid="rs-results")
    with detail.beside:
        gr.HTML(acts(), elem_id="rs-detail-acts")
        why = gr.HTML("", elem_id="rs-why")

    place, visit = [options.where, own], gr.State(Visit())
    inputs = [options.rerank, options.top_k, kind, options.temperature, *place, visit]
    inputs += [asked, loop.marks]
    outputs = [message, grid, pages, shown, asked, address]
    for trigger in query.asked:
        trigger(handlers.search, [query.words, *inputs], outputs, **MODEL)
    again = (handlers.search_again, [asked, *inputs], outputs)
    smr.input(lambda on: _SWITCHED if on else NO_RERANK, smr, options.rerank, **PRIVATE).then(
        *again, **MODEL
    )
    options.rerank.input(lambda name: name == _SWITCHED, options.rerank, smr, **PRIVATE)
    for trigger in (options.rerank.input, options.top_k.release, options.where.change, kind.input):
        trigger(*again, **MODEL)
    pages.select(handlers.turn, [asked, *place], outputs, **SELECTION)
    alike = [query.words, *outputs]
    detail.similar.click(handlers.similar, [chosen, shown, *inputs], alike, **MODEL)
    opened = grid.select(
        handlers.show, [shown, asked], [detail.content, chosen, why, asked, address], **SELECTION
    )
    opened.then(handlers.why, [chosen, shown], why, **MODEL)
    controls = [query.words, smr, options.rerank, kind, options.top_k, options.where, tabs]
    restored = [*controls, detail.content, chosen, *outputs]
    address.select(handlers.restore, visit, restored, **MODEL).then(
        controls_of, asked, [*more.filters, *more.rows], **REDRAW
    )
    bound = Bound(query.words, inputs, outputs, place, shown, asked)
    more.bind(handlers, bound)
    loop.bind(handlers, grid, bound)
    options.labels.bind(handlers, inputs, outputs)
    detail.offer(offered_file, [chosen])
    launched = Launched([kind, message, grid, pages, shown], [shown, visit], handlers.launched)
    return ResultTab(options.rerank, detail, [chosen, shown], handlers.result), launched


class _Options:
    """What is folded away until *More options* is pressed; ``app.js`` unfolds it."""

    def __init__(self, handlers: LoopHandlers, own: gr.State) -> None:
        with gr.Column(elem_id="rs-options"):
            self.more, self.labels = QueryPanel(), LabelPanel()
            with gr.Row():
                self.rerank = build_rerank("rs-rerank", scale=3, min_width=280)
                self.top_k = gr.Slider(
                    4, MOST_RESULTS, value=RESULTS, step=4, label="Results", scale=2, min_width=200
                )
                self.temperature = gr.Number(
                    value=None,
                    label="SMR temperature",
                    info="Smaller follows the best sentences more closely. 0: the model's own.",
                    minimum=0,
                    maximum=10,
                    step=0.01,
                    scale=2,
                    min_width=200,
                )
            with gr.Row():
                uploads = gr.File(
                    label="Search your own pictures (only you see them)",
                    file_count="multiple",
                    height=130,
                    elem_id="rs-uploads",
                )
                with gr.Column():
                    self.where = gr.Radio(
                        [GALLERY, OWN], value=GALLERY, label="Search in", interactive=False
                    )
                    report = gr.HTML("")
        uploads.change(handlers.add_pictures, uploads, [own, report, self.where], **MODEL)
