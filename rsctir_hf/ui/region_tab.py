"""The tab *Region graph*: what a model looks at within a picture, and how it ties it together."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
import networkx as nx
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image
from plotly.graph_objects import Figure

from rsctir_hf.errors import RsctirError
from rsctir_hf.imagery import read_image
from rsctir_hf.regions.graph import (
    NODE_COLUMNS,
    node_table,
    to_graphml,
    to_networkx,
    to_node_link_json,
)
from rsctir_hf.ui.cards import notice
from rsctir_hf.ui.figures import GraphView, graph_sentence, region_figure
from rsctir_hf.ui.picture_tab import refused
from rsctir_hf.ui.pictures import picture_input
from rsctir_hf.ui.samples import build_sample_strip, sample_paths
from rsctir_hf.ui.session import FORGET_AFTER
from rsctir_hf.ui.workbench import Workbench

MOST_REGIONS = 20
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
        graph: its regions and edges.
        rows: the node table.
        input_side: side of the model input in pixels.
    """

    picture: Image.Image
    graph: nx.Graph
    rows: list[list[str | int | float]]
    input_side: int


class RegionHandlers:
    """What the events of the tab call."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def find_regions(
        self, path: str | None
    ) -> tuple[str, GraphShown | None, str | None, str | None]:
        """Return a message, the graph of a picture, and its files to download."""
        if not path:
            return _WELCOME, None, None, None
        try:
            picture = read_image(path)
            retriever = self.bench.region_retriever()
            found = retriever.region_graph(picture)
        except RsctirError as error:
            return refused(error), None, None, None
        graph, side = to_networkx(found), model_side(retriever.model)
        shown = GraphShown(picture, graph, node_table(found), side)
        as_json = write_file("region_graph.json", to_node_link_json(found))
        return "", shown, as_json, write_file("region_graph.graphml", to_graphml(found))

    def draw(
        self, shown: GraphShown | None, most_regions: float, least_weight: float
    ) -> tuple[Figure | None, str, list[list[str | int | float]], Any]:
        """Return the figure, the sentence and the table of a graph, and show or hide them."""
        if shown is None:
            return None, "", [], gr.update(visible=False)
        view = GraphView(int(most_regions), least_weight)
        figure = region_figure(shown.picture, shown.graph, view, input_side=shown.input_side)
        sentence = f'<p class="rs-lead">{graph_sentence(shown.graph, view)}</p>'
        return figure, sentence, shown.rows, gr.update(visible=True)

    def take_sample(self, event: gr.EventData) -> Image.Image:
        """Return the sample that was clicked."""
        return read_image(sample_paths(self.bench.gallery)[int(event.item)])


def model_side(model: Any) -> int:  # noqa: ANN401 - any model with a region graph
    """Return the side of a model's square input in pixels."""
    return int(model.config.image_size)


def write_file(name: str, text: str) -> str:
    """Put a text into gradio's cache, which serves it and deletes it after a day."""
    return save_bytes_to_cache(text.encode("utf-8"), name, get_upload_folder())


@dataclass(frozen=True)
class RegionTab:
    """The components of the tab that others refer to."""

    picture: gr.Image
    samples: gr.HTML


def build_region_tab(bench: Workbench) -> RegionTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = RegionHandlers(bench)
    shown = gr.State(None, time_to_live=FORGET_AFTER)
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=2, min_width=300):
            picture = picture_input(
                "Your picture",
                sources=["upload", "clipboard"],
                height=260,
                elem_id="rs-region-picture",
                alt_text="The picture whose regions are shown",
                buttons=["fullscreen"],
            )
            samples = build_sample_strip("rs-region-samples")
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

    drawn = ([shown, most, least], [figure, sentence, table, panel])
    picture.change(
        handlers.find_regions,
        picture,
        [message, shown, as_json, as_graphml],
        concurrency_id="model",
        concurrency_limit=1,
        api_visibility="private",
        show_progress="minimal",
    ).then(handlers.draw, *drawn, api_visibility="private", show_progress="hidden")
    for slider in (most, least):
        slider.release(handlers.draw, *drawn, api_visibility="private", show_progress="hidden")
    samples.select(handlers.take_sample, None, picture, api_visibility="private")
    return RegionTab(picture, samples)
