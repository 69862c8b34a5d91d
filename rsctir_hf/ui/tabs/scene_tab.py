"""The tab *Scene*: a georeferenced raster and a query in, places on the map out."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image
from plotly.graph_objects import Figure

from rsctir_hf.errors import RsctirError
from rsctir_hf.scene import TILE, SceneAnswer
from rsctir_hf.search.retriever import describe_query
from rsctir_hf.ui.server.events import (
    MODEL,
    PRIVATE,
    REDRAW,
    SELECTION,
    Trigger,
    item_of,
    told_to_visitors,
)
from rsctir_hf.ui.server.limits import FORGET_AFTER
from rsctir_hf.ui.server.open_scenes import Cut, OpenScene, open_scene, sample_scene
from rsctir_hf.ui.server.uploads import offer_file, png_of, uploaded
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.controls import DetailPanel, QueryBox, ResultTab, arriving, build_rerank
from rsctir_hf.ui.views.cards import refusal
from rsctir_hf.ui.views.notices import NO_SCENE, OPEN_SCENE
from rsctir_hf.ui.views.plots import sized
from rsctir_hf.ui.views.samples import SELECT_ITEM
from rsctir_hf.ui.views.scene_figures import scene_figure
from rsctir_hf.ui.views.scene_results import (
    MAP_COLUMNS,
    answer_message,
    hit_cards,
    hit_detail,
    hit_table,
    opened_message,
    saved_queries,
)

EXAMPLES = (
    "boats in a harbor",
    "planes at an airport",
    "round storage tanks",
    "tennis courts",
    "a running track",
)
MOST_SAVED = 12
FIGURE = "rs-scene-figure"
_BASEMAP = "Basemap (your browser asks tile.openstreetmap.org)"
_SUFFIXES = [".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"]
#: Embedding a scene takes minutes: it waits in a queue of its own, or nobody else could search
#: meanwhile, and it shows how far it is.
_SCENE: dict[str, Any] = {**MODEL, "concurrency_id": "scene", "show_progress": "full"}


class SceneHandlers:
    """What the events of the tab call."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def open_sample(self) -> tuple[str, OpenScene | None, Any, str | None]:
        """Open the drawn scene; return message, scene, the panel and an empty upload."""
        return *self._opened(sample_scene, drawn=True), None

    def open_upload(self, path: str | None) -> tuple[str, OpenScene | None, Any]:
        """Open a visitor's raster; return message, scene and the panel."""
        if not path:
            return OPEN_SCENE, None, gr.update(visible=False)
        return self._opened(lambda: uploaded(path))

    def search_scene(
        self,
        scene: OpenScene | None,
        query: str,
        rerank: str,
        top_k: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio hands it in
        *cut: Any,  # noqa: ANN401 - what ``Cut.read`` takes
    ) -> tuple[str, OpenScene | None]:
        """Return a message, and the scene with its answer."""
        if scene is None:
            return NO_SCENE, None
        try:
            about_query = describe_query(query)
            scene = scene.indexed(self.bench.retriever(), Cut.read(*cut), progress)
            scene = scene.asked(text=query, top_k=int(top_k), rerank=rerank)
        except RsctirError as error:
            return refusal(error), replace(scene, answer=None)
        return answer_message(scene, about_query), scene

    def draw(self, scene: OpenScene | None, heat: bool, basemap: bool) -> tuple[Any, ...]:
        """Return the scene and its size, cards, table, both files, and the hits' panel."""
        hidden = gr.update(visible=False)
        if scene is None:
            return None, "", "", gr.skip(), None, None, hidden
        figure = drawn(scene, heat=heat, basemap=basemap)
        if scene.answer is None:
            return *figure, "", gr.skip(), None, None, hidden
        with told_to_visitors():
            table, cards = hit_table(scene.answer), hit_cards(scene)
        return *figure, cards, table, *files(scene.answer), gr.update(visible=True)

    def show(
        self, scene: OpenScene, heat: bool, basemap: bool, event: gr.EventData
    ) -> tuple[str, int | None, Figure, str]:
        """Open the hit that was clicked: detail, its rank, and the scene that marks it."""
        hit = item_of(event, scene.hits if scene else ())  # nobody may have opened one
        with told_to_visitors():
            large = hit_detail(scene, hit)
        return large, hit.rank, *drawn(scene, heat=heat, basemap=basemap, chosen=hit.rank)

    def similar(
        self, scene: OpenScene | None, rank: int | None, top_k: float
    ) -> tuple[str, OpenScene | None]:
        """Search the scene for what looks like a hit; return a message and the scene."""
        if scene is None:
            return NO_SCENE, None
        try:
            picture, _ = self.result(scene, rank)
            answered = scene.asked(image=picture, top_k=int(top_k))
        except RsctirError as error:
            return refusal(error), scene
        return answer_message(answered, None), answered

    def result(self, scene: OpenScene | None, rank: int | None) -> tuple[Image.Image | None, str]:
        """Return the picture of the open hit and the words that found it, for another tab."""
        hits = scene.hits if scene is not None else ()
        hit = next((hit for hit in hits if hit.rank == rank), None)
        if hit is None or scene is None or scene.index is None or scene.answer is None:
            return None, ""
        with told_to_visitors():
            return scene.index.picture_of(hit.window), scene.answer.text or ""

    def file(self, scene: OpenScene | None, rank: int | None) -> str | None:
        """Offer the open hit as a picture."""
        picture, _ = self.result(scene, rank)
        if picture is None:
            return None
        return offer_file(f"hit_{rank}.png", png_of(picture))

    def save(self, query: str | None, saved: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
        """Keep a query for this visitor; return all that are kept, and their buttons."""
        words = " ".join((query or "").split())
        if words and words not in saved:
            saved = (*saved, words)[-MOST_SAVED:]
        return saved, saved_queries(saved)

    def _opened(
        self, find: Callable[[], Path], *, drawn: bool = False
    ) -> tuple[str, OpenScene | None, Any]:
        try:
            scene = open_scene(find(), drawn=drawn)
        except (RsctirError, OSError) as error:
            return refusal(error, "This scene cannot be used"), None, gr.update(visible=False)
        return opened_message(scene), scene, gr.update(visible=True)


def drawn(scene: OpenScene, **how: Any) -> tuple[Figure, str]:  # noqa: ANN401 - of scene_figure
    """Return the figure of a scene, and the style that gives it its size."""
    figure, ratio = scene_figure(scene, **how)
    return figure, sized(FIGURE, ratio)


def files(answer: SceneAnswer) -> tuple[str, str]:
    """Offer GeoJSON and heat map for download."""
    with tempfile.TemporaryDirectory() as folder:
        heat_map = Path(folder) / "heat_map.tif"
        answer.write_heat_map(heat_map)
        offered = offer_file(heat_map.name, heat_map.read_bytes())
    return offer_file("hits.geojson", json.dumps(answer.to_geojson(), indent=1)), offered


class _Asking:
    """Where a scene is opened and asked; ``cut`` is what ``Cut.read`` takes."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="rs-split"):
            with gr.Column(scale=2, min_width=280):
                self.upload = gr.File(
                    label="Your scene (GeoTIFF, JPEG 2000; only you see it)",
                    file_types=_SUFFIXES,
                    height=140,
                    elem_id="rs-scene-upload",
                )
                self.sample = gr.Button(
                    "Open the drawn sample scene", size="sm", elem_id="rs-scene-sample"
                )
            with gr.Column(scale=3, min_width=300):
                self.query = QueryBox(
                    "What do you look for in the scene?", EXAMPLES, "rs-scene", min_width=200
                )
                with gr.Row(elem_classes="rs-chips"):
                    self.keep = gr.Button("Save this query", size="sm", elem_id="rs-scene-keep")
                    self.saved = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-scene-saved")
                with gr.Accordion("More options", open=False):
                    self.rerank = build_rerank("rs-scene-rerank")
                    self.top_k = gr.Slider(1, 30, value=8, step=1, label="Hits", min_width=160)
                    self.cut = _build_cut()


def _build_cut() -> list[gr.components.Component]:
    with gr.Row():
        tile = gr.Number(
            TILE,
            precision=0,
            minimum=32,
            maximum=2048,
            label="Tile, pixels a side",
            info="Larger tiles show more ground at once.",
        )
        gsd = gr.Number(
            None,
            minimum=0,
            label="Ground sample distance, metres a pixel",
            info="Only where the file does not say it, or is wrong.",
        )
        bands = gr.Textbox(
            "",
            label="Bands: red, green, blue",
            placeholder="4,3,2",
            info="Empty: as the file says, else the first three.",
            max_lines=1,
        )
    return [tile, gsd, bands]


class _Answer:
    """Where the scene and its hits are shown; ``drawn`` is what ``draw`` fills."""

    def __init__(self) -> None:
        with (
            gr.Column(visible=False) as self.whole,
            gr.Row(elem_classes="rs-split"),
        ):
            with gr.Column(scale=3, min_width=300):
                figure = gr.Plot(show_label=False, elem_id=FIGURE, container=False)
                size = gr.HTML("")
                with gr.Row(elem_classes="rs-slim"):
                    self.heat = gr.Checkbox(
                        True, label="Heat map: where the scores are high", container=False
                    )
                    self.basemap = gr.Checkbox(
                        False, label=_BASEMAP, container=False, elem_id="rs-scene-basemap"
                    )
            with gr.Column(scale=2, min_width=300, visible=False) as hits:
                self.cards = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-scene-hits")
                table = gr.Dataframe(
                    headers=list(MAP_COLUMNS),
                    label="Hits, their middles",
                    interactive=False,
                    elem_id="rs-scene-table",
                )
                with gr.Row():
                    geojson = gr.DownloadButton("Download GeoJSON", size="sm", elem_id="rs-geojson")
                    heat_file = gr.DownloadButton("Download heat map (GeoTIFF)", size="sm")
        self.detail = DetailPanel("rs-scene", grid="rs-scene-hits", copies="place")
        self.figure = [figure, size]
        self.drawn = [*self.figure, self.cards, table, geojson, heat_file, hits]


def build_scene_tab(
    bench: Workbench,
) -> tuple[ResultTab, Callable[[Trigger, gr.State, gr.Tabs], None]]:
    """Lay the tab out and bind its events; call inside ``gr.Tab``.

    Returns:
        The tab, and what binds the opening of a raster that another tab was given.
    """
    handlers = SceneHandlers(bench)
    scene, rank = gr.State(None, time_to_live=FORGET_AFTER), gr.State(None)
    asking = _Asking()
    message = gr.HTML(OPEN_SCENE, elem_id="rs-scene-message")
    answer = _Answer()
    detail = answer.detail
    how = [scene, answer.heat, answer.basemap]
    draw = (handlers.draw, how, answer.drawn)

    def then_draw(event: gr.events.Dependency) -> None:
        event.then(*draw, **REDRAW).then(**arriving("rs-scene-message"))

    opened = [message, scene, answer.whole]
    then_draw(asking.sample.click(handlers.open_sample, None, [*opened, asking.upload], **PRIVATE))
    then_draw(asking.upload.upload(handlers.open_upload, asking.upload, opened, **PRIVATE))
    asking.upload.clear(lambda: handlers.open_upload(None), None, opened, **PRIVATE)
    inputs = [scene, asking.query.words, asking.rerank, asking.top_k, *asking.cut]
    for trigger in (*asking.query.asked, _taken_again(handlers, asking)):
        then_draw(trigger(handlers.search_scene, inputs, [message, scene], **_SCENE))
    for switch in (answer.heat, answer.basemap):
        switch.input(*draw, **REDRAW)
    shown = [detail.content, rank, *answer.figure]
    answer.cards.select(handlers.show, how, shown, **SELECTION)
    detail.offer(handlers.file, [scene, rank])
    similar = [scene, rank, asking.top_k]
    then_draw(detail.similar.click(handlers.similar, similar, [message, scene], **MODEL))

    def take(trigger: Trigger, source: gr.State, tabs: gr.Tabs) -> None:
        """Open the raster that another tab was given."""

        def opening(path: str | None) -> tuple[Any, ...]:
            return gr.Tabs(selected="scene"), *handlers.open_upload(path)

        then_draw(trigger(opening, source, [tabs, *opened], **PRIVATE))

    return ResultTab(asking.rerank, detail, [scene, rank], handlers.result), take


def _taken_again(handlers: SceneHandlers, asking: _Asking) -> Trigger:
    """Let queries be kept; return what asks when a kept one is clicked."""
    kept = gr.State(())
    words = asking.query.words
    asking.keep.click(handlers.save, [words, kept], [kept, asking.saved], **PRIVATE)

    def take(saved: tuple[str, ...], event: gr.EventData) -> str:
        return item_of(event, saved)

    return asking.saved.select(take, kept, words, **PRIVATE).then
