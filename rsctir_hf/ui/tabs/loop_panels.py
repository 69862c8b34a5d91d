"""What *Search* folds away below the question and the results: the analyst's loop.

More parts of the query, filters, marks and the collection; ``loop_answers`` answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rsctir_hf.collection.collected import Collection
from rsctir_hf.ui.server.events import MODEL, PRIVATE, SELECTION
from rsctir_hf.ui.server.limits import FORGET_AFTER
from rsctir_hf.ui.server.marked import Marks
from rsctir_hf.ui.server.uploads import picture_input
from rsctir_hf.ui.tabs.loop_answers import AND, NOT, ROWS, LoopHandlers, drawn_box
from rsctir_hf.ui.views.samples import SELECT_ITEM

_DRAW_BOX = "window.rsctir.drawBox(element, trigger);"
_SHOW_MARKS = f"window.rsctir.showMarks(element, watch); {SELECT_ITEM}"
_FORMS = {
    "ZIP of the pictures, with a CSV": "zip",
    "CSV, for spreadsheets": "csv",
    "GeoJSON": "geojson",
    "GeoParquet, a GeoDataFrame": "geoparquet",
    "STAC items, in a ZIP": "stac",
    "Contact sheet (HTML)": "html",
}


@dataclass(frozen=True)
class Bound:
    """What the events of the panels are bound to.

    Attributes:
        words: the input of the query.
        controls: what ``Controls`` takes, in its order.
        outputs: what an answer fills.
        place: which gallery is searched: its switch, and the visitor's own pictures.
        shown: state of the results.
        asked: state of the question.
    """

    words: gr.Textbox
    controls: Sequence[gr.blocks.Block]
    outputs: Sequence[gr.blocks.Block]
    place: Sequence[gr.blocks.Block]
    shown: gr.State
    asked: gr.State


class QueryPanel:
    """More words and pictures of a query, and filters; closed at first."""

    def __init__(self) -> None:
        with gr.Accordion("More about the query", open=False, elem_id="rs-more") as self.opened:
            self.rows = [value for place in range(ROWS) for value in _part_row(place)]
            self.go = gr.Button("Search with all of it", variant="primary", size="sm")
            with gr.Row():
                self.conditions = gr.Dropdown(
                    [],
                    multiselect=True,
                    allow_custom_value=True,
                    label="Only pictures with",
                    info="Choose, or write: gsd<=0.5, place~=bay. Of one column any is enough.",
                    elem_id="rs-where",
                    scale=3,
                    min_width=260,
                )
                self.after = gr.Textbox(
                    label="Taken after", placeholder="2024-05", max_lines=1, min_width=120
                )
                self.before = gr.Textbox(
                    label="Taken before", placeholder="2024-05-31", max_lines=1, min_width=120
                )
            self.map = gr.HTML("", js_on_load=_DRAW_BOX, elem_id="rs-map")
            with gr.Row():
                self.box = gr.Textbox(
                    label="Within a box: west,south,east,north in degrees",
                    placeholder="8.4,53.0,8.9,53.3",
                    max_lines=1,
                    elem_id="rs-box",
                )
                self.fold = gr.Checkbox(False, label="Fold copies of a picture", elem_id="rs-fold")
        self.filters = [self.conditions, self.box, self.after, self.before, self.fold]

    def bind(self, handlers: LoopHandlers, to: Bound) -> None:
        """Bind the events; call once all components are there."""
        composed = [to.words, *to.controls, *self.rows]
        self.go.click(handlers.compose, composed, to.outputs, **MODEL)
        offered = [self.conditions, self.map]
        self.opened.expand(handlers.offer, [to.asked, *to.place], offered, **MODEL)
        narrowed = (handlers.narrow, [*to.controls, *self.filters], [*to.outputs, *offered])
        texts = (self.box, self.after, self.before)
        left = [each.blur for each in (*texts, self.conditions)]
        written = [each.submit for each in texts]
        for trigger in (self.conditions.input, self.fold.input, *written, *left):
            trigger(*narrowed, **MODEL)
        self.map.select(drawn_box, None, self.box, **PRIVATE).success(*narrowed, **MODEL)


class LoopPanel:
    """Marks above the results, and the collection below them.

    Attributes:
        marks: state of what is marked.
        collection: state of what is collected.
    """

    def __init__(self) -> None:
        self.marks = gr.State(Marks(), time_to_live=FORGET_AFTER)
        self.collection = gr.State(Collection("collection"), time_to_live=FORGET_AFTER)
        with gr.Column(elem_id="rs-marked"):
            self.strip = gr.HTML("", js_on_load=_SHOW_MARKS, elem_id="rs-marks")
            with gr.Row(elem_classes="rs-slim"):
                self.again = gr.Button("Search again", variant="primary", size="sm")
                self.forget = gr.Button("Forget the marks", size="sm")

    def build_below(self) -> None:
        """Lay out what stands below the results."""
        with gr.Accordion(
            "Concepts: keep the marks, or open some", open=False, elem_id="rs-concepts"
        ):
            with gr.Row():
                self.name = gr.Textbox(label="Name of the concept", max_lines=1)
                self.save = gr.Button("Save the marks", size="sm", elem_id="rs-save-concept")
            self.given = gr.File(label="Open a concept (.json)", height=110, elem_id="rs-concept")
        with gr.Accordion("Collection", open=False, elem_id="rs-collection"):
            self.said = gr.HTML("")
            self.table = gr.Dataframe(
                headers=["Picture", "Score", "Note"],
                label="Collected pictures; write notes into the last column",
                static_columns=[0, 1],
                type="array",
                interactive=True,
                elem_id="rs-collected",
            )
            with gr.Row():
                self.title = gr.Textbox(label="Name of the collection", max_lines=1)
                self.form = gr.Dropdown(list(_FORMS.items()), value="zip", label="Format")
            with gr.Row(elem_classes="rs-slim"):
                self.export = gr.Button("Export", size="sm", elem_id="rs-export")
                self.undo = gr.Button("Undo", size="sm", elem_id="rs-undo")
                gr.Button("Copy link to this search", size="sm", elem_classes="rs-link")
        # Out of sight: a file is put here once it is asked for, then the browser takes it.
        self.file = gr.DownloadButton("File", elem_id="rs-loop-file", elem_classes="rs-away")

    def bind(self, handlers: LoopHandlers, grid: gr.HTML, to: Bound) -> None:
        """Bind the events; call once all components are there."""
        states = [self.marks, self.collection]
        looped = [self.strip, self.table, self.said]
        grid.like(handlers.act, [to.shown, to.asked, *states], looped, **SELECTION)
        taken = [to.shown, *states]
        self.strip.select(handlers.take_back, taken, self.strip, **SELECTION)
        self.forget.click(handlers.forget, taken, self.strip, **PRIVATE)
        self.undo.click(handlers.undo, taken, looped, **PRIVATE)
        asking = [to.words, *to.controls]
        self.again.click(handlers.search_marked, asking, to.outputs, **MODEL)
        self._offer(self.save.click, handlers.save_concept, [to.words, self.name, *to.controls])
        opened = [self.given, self.collection, *to.controls]
        self.given.upload(
            handlers.open_concept, opened, [self.strip, to.words, *to.outputs], **MODEL
        )
        self.table.input(handlers.note, [self.table, to.shown, self.collection], None, **PRIVATE)
        exported = [self.title, self.form, self.collection, *to.place]
        self._offer(self.export.click, handlers.take_home, exported, [self.said])

    def _offer(
        self,
        trigger: Callable[..., Any],
        find: Callable[..., Any],
        inputs: list[gr.blocks.Block],
        more: Sequence[gr.blocks.Block] = (),
    ) -> None:
        """Let the browser take the file that ``find`` returns, first of its outputs."""
        trigger(find, inputs, [self.file, *more], **MODEL).success(
            None, js="() => window.rsctir.take('rs-loop-file')", **PRIVATE
        )


def _part_row(place: int) -> list[gr.blocks.Block]:
    """Place sign, words, picture and weight of one more part of a query."""
    sign = AND if place % 2 == 0 else NOT
    with gr.Row(elem_classes="rs-part"):
        return [
            gr.Dropdown([AND, NOT], value=sign, show_label=False, container=False, min_width=110,
                        scale=0, label=f"Part {place + 2}: wanted or not"),
            gr.Textbox(label=f"Part {place + 2}: words", show_label=False, container=False,
                       placeholder="words, or image: and a name", max_lines=1, scale=3),
            picture_input(f"Part {place + 2}: picture", sources=["upload", "clipboard"],
                          height=64, scale=1, min_width=110, show_label=False),
            gr.Number(1, step=0.1, label=f"Part {place + 2}: weight", scale=1, min_width=140),
        ]  # fmt: skip
