"""The tab *Region graph*: what a model looks at within a picture, and how it ties it together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image
from plotly.graph_objects import Figure

from rsctir_hf.errors import RsctirError
from rsctir_hf.imagery import read_image
from rsctir_hf.regions.graph import (
    NODE_COLUMNS,
    RegionGraph,
    node_table,
    to_graphml,
    to_networkx,
    to_node_link_json,
)
from rsctir_hf.ui.cards import notice
from rsctir_hf.ui.denoising import own_threshold, with_threshold
from rsctir_hf.ui.events import MODEL, REDRAW, Trigger
from rsctir_hf.ui.figures import GraphView, graph_sentence, region_figure
from rsctir_hf.ui.picture_tab import refused
from rsctir_hf.ui.samples import build_picture_chooser
from rsctir_hf.ui.session import FORGET_AFTER
from rsctir_hf.ui.workbench import Workbench

MOST_REGIONS = 20
Rows = list[list[str | int | float]]
_WELCOME = notice(
    "info",
    "Give a picture",
    "The regions the model looks at and the ties between them are drawn over it.",
)
_LEGEND = (
    "Solid boxes with round numbers are in the graph; dotted ones with square numbers were left "
    "out as repetition, point at a number for the reason. Thicker lines are stronger ties."
)


@dataclass(frozen=True)
class GraphShown:
    """The region graph one visitor looks at; lives in that visitor's state.

    Attributes:
        picture: the RGB picture.
        found: its region graph as the model returned it.
        config: the configuration of that model.
    """

    picture: Image.Image
    found: RegionGraph
    config: Any


class RegionHandlers:
    """What the events of the tab call."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def find_regions(self, path: str | None) -> tuple[str, GraphShown | None, Any]:
        """Return a message, the graph of a picture, and the slider at the model's threshold."""
        if not path:
            return _WELCOME, None, gr.skip()
        try:
            picture = read_image(path)
            retriever = self.bench.region_retriever()
            found = retriever.dense_region_graph(picture)
        except RsctirError as error:
            return refused(error), None, gr.skip()
        shown = GraphShown(picture, found, retriever.model.config)
        own = own_threshold(shown.config)
        if own is None:
            return "", shown, gr.update(visible=False)
        info = (
            f"The model's own is {own:.2f}. Moving it shows a variant; searches stay as they are."
        )
        return "", shown, gr.update(value=own, info=info, visible=True)

    def draw(
        self, shown: GraphShown | None, alike: float, most_regions: float, least_weight: float
    ) -> tuple[Figure | None, str, Rows, Any, str | None, str | None]:
        """Return figure, sentence, table, panel and the files to download of a graph."""
        if shown is None:
            return None, "", [], gr.update(visible=False), None, None
        found = with_threshold(shown.found, shown.config, min_similarity=alike)
        graph, view = to_networkx(found), GraphView(int(most_regions), least_weight)
        side = int(shown.config.image_size)
        figure = region_figure(shown.picture, graph, view, input_side=side)
        own = own_threshold(shown.config) in (None, alike)
        sentence = f'<p class="rs-lead">{graph_sentence(graph, view, own=own)}</p>'
        as_json = write_file("region_graph.json", to_node_link_json(found))
        as_graphml = write_file("region_graph.graphml", to_graphml(found))
        return figure, sentence, node_table(found), gr.update(visible=True), as_json, as_graphml


def write_file(name: str, text: str) -> str:
    """Put a text into gradio's cache, which serves it and deletes it after a day."""
    return save_bytes_to_cache(text.encode("utf-8"), name, get_upload_folder())


@dataclass(frozen=True)
class RegionTab:
    """What others refer to: components, and what binds the drawing of the graph to a trigger."""

    picture: gr.Image
    samples: gr.HTML
    answer: Callable[[Trigger], None]


def build_region_tab(bench: Workbench) -> RegionTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = RegionHandlers(bench)
    shown = gr.State(None, time_to_live=FORGET_AFTER)
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=2, min_width=300):
            chooser = build_picture_chooser(
                bench,
                "rs-region-picture",
                alt_text="The picture whose regions are shown",
                height=260,
            )
            alike = gr.Slider(
                0,
                1,
                value=1,
                step=0.01,
                label="Leave out regions more alike than this",
                elem_id="rs-alike",
                visible=False,
            )
            most = gr.Slider(
                1, MOST_REGIONS, value=MOST_REGIONS, step=1, label="Regions shown, salient first"
            )
            least = gr.Slider(
                0,
                1,
                value=0.3,
                step=0.05,
                label="Hide ties below this share of the strongest",
            )
        with gr.Column(scale=3, min_width=300):
            message = gr.HTML(_WELCOME, elem_id="rs-region-message")
            with gr.Column(visible=False) as panel:
                sentence = gr.HTML("", elem_id="rs-region-sentence")
                figure = gr.Plot(show_label=False, elem_id="rs-region-figure", container=False)
                gr.HTML(f'<p class="rs-note">{_LEGEND}</p>')
                table = gr.Dataframe(
                    headers=list(NODE_COLUMNS),
                    label="Regions (pixels of the model input)",
                    interactive=False,
                    elem_id="rs-region-table",
                )
                with gr.Row():
                    as_json = gr.DownloadButton("Download JSON", size="sm", elem_id="rs-json")
                    as_graphml = gr.DownloadButton("Download GraphML", size="sm")

    drawn = [figure, sentence, table, panel, as_json, as_graphml]
    draw = (handlers.draw, [shown, alike, most, least], drawn)

    def answer(trigger: Trigger) -> None:
        found = [message, shown, alike]
        trigger(handlers.find_regions, chooser.picture, found, **MODEL).then(*draw, **REDRAW)

    for trigger in chooser.given:
        answer(trigger)
    for slider in (alike, most, least):
        slider.release(*draw, **REDRAW)
    return RegionTab(chooser.picture, chooser.samples, answer)
