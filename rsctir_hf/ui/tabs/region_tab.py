"""The tab *Region graph*: what a model looks at within a picture, and how it ties it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image
from plotly.graph_objects import Figure

from rsctir_hf.errors import RsctirError
from rsctir_hf.regions.arrange import own_threshold, rearranged
from rsctir_hf.regions.contribution import Contributions, NodeMaskingModel
from rsctir_hf.regions.global_window import GlobalWindowModel
from rsctir_hf.regions.graph import (
    NODE_COLUMNS,
    RegionGraph,
    explained,
    node_columns,
    node_table,
    to_data,
    to_graphml,
    to_networkx,
    to_node_link_json,
    to_regions,
)
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.ui.server.events import MODEL, REDRAW, Trigger
from rsctir_hf.ui.server.limits import FORGET_AFTER
from rsctir_hf.ui.server.messages import without_folders
from rsctir_hf.ui.server.uploads import offer_file
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.controls import QueryTab, arriving
from rsctir_hf.ui.views.cards import escape, note, notice
from rsctir_hf.ui.views.drea_panel import compare_switches
from rsctir_hf.ui.views.notices import GIVE_PICTURE_FOR_REGIONS
from rsctir_hf.ui.views.plots import sized
from rsctir_hf.ui.views.region_figures import (
    GraphView,
    effect_sentence,
    graph_sentence,
    region_figure,
)
from rsctir_hf.ui.views.samples import PictureChooser, picture_refusal, read_given
from rsctir_hf.ui.views.whole_panel import look_at_whole
from rsctir_hf.ui.views.why_here import heat_in_view

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import Data

MOST_REGIONS = 20
FIGURE = "rs-region-figure"
_LEGEND = (
    "Solid boxes with round numbers are in the graph; dotted ones with square numbers were left "
    "out as repetition, point at a number for the reason. Thicker lines are stronger ties."
)
_SIGNS = (
    " Blue with + speaks for your words: without that region the score is lower. Orange with − "  # noqa: RUF001
    "speaks against them."
)


@dataclass(frozen=True)
class GraphShown:
    """The region graph one visitor looks at; lives in that visitor's state.

    Attributes:
        picture: the RGB picture.
        found: its region graph as the model returned it.
        config: the configuration of that model.
        names: the class name behind each label number; empty where none is known.
        words: the query whose result is explained; may be empty.
        effect: what the regions contribute to the score with these words; None without words.
    """

    picture: Image.Image
    found: RegionGraph
    config: Any
    names: Sequence[str] = ()
    words: str = ""
    effect: Contributions | None = None

    @property
    def input_side(self) -> int:
        """Side in pixels of the square model input that ``found`` lies in."""
        return int(self.config.image_size)

    def data(self, min_similarity: float) -> Data:
        """Return the graph under a threshold, with labels and, where measured, contributions."""
        found = self.found
        if own_threshold(self.config) not in (None, min_similarity):
            found = rearranged(found, self.config, min_similarity=min_similarity)
        data = to_data(found, label_names=self.names)
        return data if self.effect is None else explained(data, self.effect, words=self.words)


class RegionHandlers:
    """What the events of the tab call."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def find_regions(self, path: str | None) -> tuple[str, GraphShown | None, Any, Any, Any]:
        """Return message, graph, slider at the model's threshold, and both comparisons closed."""
        nothing = (None, gr.skip(), gr.skip(), gr.skip())
        if not path:
            return GIVE_PICTURE_FOR_REGIONS, *nothing
        try:
            picture = read_given(path)
            retriever = self.bench.region_retriever()
            found, names = retriever.encoder.region_graph(picture)
            searching = self.bench.retriever().encoder.model
        except RsctirError as error:
            return picture_refusal(error), *nothing
        shown = GraphShown(picture, found, retriever.encoder.config, names)
        four = gr.update(open=False, visible=hasattr(shown.config, "drea"))
        whole = gr.update(open=False, visible=isinstance(searching, GlobalWindowModel))
        return "", shown, _threshold_slider(shown.config), four, whole

    def explain(self, shown: GraphShown | None, words: str | None) -> tuple[str, GraphShown | None]:
        """Return a message, and the graph with what its regions do to the score with the words."""
        words = " ".join("".join(c if c.isprintable() else " " for c in words or "").split())
        if shown is None or not words:
            return "", shown and replace(shown, words="", effect=None)
        try:
            effect = measure_effect(
                self.bench.retriever(), shown.picture, shown.found, words,
                input_side=shown.input_side,
            )  # fmt: skip
        except RsctirError as error:
            unexplained = notice("warning", "No contributions", without_folders(error))
            return unexplained, replace(shown, words="", effect=None)
        return "", replace(shown, words=words, effect=effect)

    def where(self, shown: GraphShown | None) -> str:
        """Draw where in the picture the words are; nothing without words."""
        if shown is None or not shown.words:
            return ""
        try:
            return heat_in_view(self.bench.retriever(), shown.picture, shown.words)
        except RsctirError as error:
            return picture_refusal(error)

    def draw(
        self, shown: GraphShown | None, alike: float, most_regions: float, least_weight: float
    ) -> tuple[Figure | None, str, str, Any, Any, str | None, str | None]:
        """Return figure, sentence, legend, table, panel and the files to download of a graph."""
        if shown is None:
            return None, "", "", gr.skip(), gr.update(visible=False), None, None
        data, view = shown.data(alike), GraphView(int(most_regions), least_weight)
        graph = to_networkx(data)
        figure = region_figure(shown.picture, graph, view, input_side=shown.input_side)
        own = own_threshold(shown.config) in (None, alike)
        said = _sentences(graph_sentence(graph, view, own=own), effect_of=graph)
        width, height = shown.picture.size
        legend = sized(FIGURE, width / height) + note(
            _LEGEND + ("" if shown.effect is None else _SIGNS + self._who_is_asked())
        )
        table = _table(data)
        as_json = offer_file("region_graph.json", to_node_link_json(data))
        as_graphml = offer_file("region_graph.graphml", to_graphml(data))
        return figure, said, legend, table, gr.update(visible=True), as_json, as_graphml

    def _who_is_asked(self) -> str:
        """Tell the models apart where one searches and another finds the regions."""
        finder, region_model = self.bench.region_retriever(), self.bench.settings.region_model
        if finder is self.bench.retriever() or region_model is None:
            return ""
        graph_of = f"{escape(Path(region_model).name)}, the region model"
        detector = finder.encoder.regions
        if not isinstance(detector, str):
            graph_of = f"{escape(Path(detector.name).name)}, a detector, in {graph_of}"
        return (
            f" The boxes are of {graph_of}; score and "
            f"contributions are of {escape(self.bench.model_name)}, which searches."
        )

    def compare(self, shown: GraphShown | None) -> str:
        """Draw the graph under each DREA switch."""
        return "" if shown is None else compare_switches(shown.picture, shown.found, shown.config)

    def look(self, shown: GraphShown | None) -> str:
        """Draw the global windows of the model that searches."""
        if shown is None:
            return ""
        try:
            return look_at_whole(self.bench.retriever(), shown.picture)
        except RsctirError as error:
            return picture_refusal(error)


def measure_effect(
    retriever: Retriever, picture: Image.Image, found: RegionGraph, words: str, *, input_side: int
) -> Contributions:
    """Return what the regions of an RGB picture contribute to its score with some words.

    Where the model that is asked has a region graph (GaLR), a node is left out of it; where it has
    none (CMPAGL-style), the tokens under a region's box are masked: ``regions.contribution``.

    Args:
        retriever: of the model that made the result.
        picture: RGB.
        found: its region graph (B = 1), of this model or of the region model, whose numbers the
            contributions have.
        words: the query.
        input_side: side in pixels of the square model input that ``found`` lies in.

    Raises:
        UnsupportedError: the model can leave nothing out.
        QueryError: no words.
    """
    regions = None
    if not isinstance(retriever.encoder.model, NodeMaskingModel):
        regions = to_regions(found, input_side=input_side, picture_size=picture.size)
    return retriever.contributions(picture, words, regions=regions)


def _threshold_slider(config: Any) -> Any:  # noqa: ANN401 - a gradio update
    """Put the slider at the model's own threshold; hide it where the model drops nothing."""
    own = own_threshold(config)
    if own is None:
        return gr.update(visible=False)
    info = f"The model's own is {own:.2f}. Moving it shows a variant; searches stay as they are."
    return gr.update(value=own, info=info, visible=True)


def _table(data: Data) -> dict[str, Any]:
    """Return headers and rows of a graph's regions, without a column that says nothing."""
    columns, rows = node_columns(data), node_table(data)
    said = [
        place for place in range(len(columns)) if not rows or any(row[place] != "" for row in rows)
    ]
    return {
        "headers": [columns[place] for place in said],
        "data": [[row[place] for place in said] for row in rows],
    }


def _sentences(about_graph: str, *, effect_of: nx.Graph) -> str:
    """Lead with what the regions did for the result, where words were given."""
    if "words" not in effect_of.graph:
        return f'<p class="rs-lead">{about_graph}</p>'
    effect = escape(effect_sentence(effect_of))
    return f'<p class="rs-lead">{effect}</p>{note(about_graph)}'


def build_region_tab(bench: Workbench) -> QueryTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = RegionHandlers(bench)
    shown = gr.State(None, time_to_live=FORGET_AFTER)
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=2, min_width=300):
            chooser = PictureChooser(
                bench,
                "rs-region-picture",
                alt_text="The picture whose regions are shown",
                height=260,
            )
            words = gr.Textbox(
                label="Explain for these words (optional)",
                placeholder="a bridge over a river",
                info="Where in the picture they are, and what each region does to their score.",
                max_lines=1,
                submit_btn=True,
                elem_id="rs-region-words",
            )
            unexplained = gr.HTML("")
            where = gr.HTML("", elem_id="rs-region-where")
            alike, *others = _build_sliders()
        with gr.Column(scale=3, min_width=300):
            message = gr.HTML(GIVE_PICTURE_FOR_REGIONS, elem_id="rs-region-message")
            panel, drawn = _build_panel()
            with panel:
                four, switches = _build_on_demand("Compare the four DREA settings", "rs-drea")
                window, views = _build_on_demand("How the model sees the whole picture", "rs-whole")

    draw = (handlers.draw, [shown, alike, *others], drawn)
    explain = (handlers.explain, [shown, words], [unexplained, shown])
    point = (handlers.where, shown, where)
    found = [message, shown, alike, four, window]

    def answer(trigger: Trigger) -> None:
        explained = trigger(handlers.find_regions, chooser.source, found, **MODEL).then(
            *explain, **MODEL
        )
        explained.then(*draw, **REDRAW).then(**arriving("rs-region-message"))
        explained.then(*point, **MODEL)

    for trigger in chooser.given:
        answer(trigger)
    explained = words.submit(*explain, **MODEL)
    explained.then(*draw, **REDRAW)
    explained.then(*point, **MODEL)
    for slider in (alike, *others):
        slider.release(*draw, **REDRAW)
    four.expand(handlers.compare, shown, switches, **REDRAW)
    window.expand(handlers.look, shown, views, **MODEL)
    return QueryTab(chooser, words, answer)


def _build_sliders() -> list[gr.Slider]:
    """Place what decides how a graph is drawn, in the order in which ``draw`` takes it."""
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
        0, 1, value=0.3, step=0.05, label="Hide ties below this share of the strongest"
    )
    return [alike, most, least]


def _build_panel() -> tuple[gr.Column, list[gr.blocks.Block]]:
    """Place where a graph is shown; return the panel, and what ``draw`` fills."""
    with gr.Column(visible=False) as panel:
        sentence = gr.HTML("", elem_id="rs-region-sentence")
        figure = gr.Plot(show_label=False, elem_id=FIGURE, container=False)
        legend = gr.HTML("")
        table = gr.Dataframe(
            headers=list(NODE_COLUMNS),
            label="Regions (pixels of the model input)",
            interactive=False,
            elem_id="rs-region-table",
        )
        with gr.Row():
            as_json = gr.DownloadButton("Download JSON", size="sm", elem_id="rs-json")
            as_graphml = gr.DownloadButton("Download GraphML", size="sm")
    return panel, [figure, sentence, legend, table, panel, as_json, as_graphml]


def _build_on_demand(title: str, elem_id: str) -> tuple[gr.Accordion, gr.HTML]:
    """Place what is computed only once its accordion is opened."""
    with gr.Accordion(title, open=False, elem_id=elem_id) as accordion:
        content = gr.HTML("")
    return accordion, content
