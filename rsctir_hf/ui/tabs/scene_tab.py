"""The tab *Scene*: a georeferenced raster and a query in, places on the map out."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image
from plotly.graph_objects import Figure

from rsctir_hf.errors import RsctirError
from rsctir_hf.scene import TILE, SceneAnswer, SceneHit
from rsctir_hf.search.retriever import describe_query
from rsctir_hf.ui.server.events import MODEL, PRIVATE, REDRAW, Trigger, item_of
from rsctir_hf.ui.server.open_scenes import Cut, OpenScene, open_scene, sample_scene
from rsctir_hf.ui.server.own_pictures import FORGET_AFTER
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.search_tab import RERANK_HELP, rerank_choices
from rsctir_hf.ui.views.cards import notice
from rsctir_hf.ui.views.results import NO_RERANK
from rsctir_hf.ui.views.samples import SELECT_ITEM
from rsctir_hf.ui.views.scene_figures import map_figure, scene_figure
from rsctir_hf.ui.views.scene_results import (
    MAP_COLUMNS,
    answer_message,
    heat_map_bytes,
    hit_cards,
    hit_detail,
    hit_table,
    opened_message,
    saved_queries,
)
from rsctir_hf.ui.views.uploads import uploaded, without_folders

EXAMPLES = (
    "boats moored in a harbor",
    "planes at an airport",
    "round storage tanks",
    "tennis courts",
    "a running track",
)
MOST_SAVED = 12
_SUFFIXES = [".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"]
_SHOW_DETAIL = (
    "() => document.querySelector('#rs-scene-detail')?.scrollIntoView({block: 'nearest'})"
)
_WELCOME = notice(
    "info",
    "Open a scene and say what you look for",
    "A GeoTIFF of your own, or the drawn sample scene. The places that fit best are marked on it "
    "and on a map.",
)
_NO_SCENE = notice("warning", "No scene is open", "Give a file or take the drawn sample scene.")
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
            return _WELCOME, None, gr.update(visible=False)
        return self._opened(lambda: uploaded(path))

    def search_scene(
        self,
        scene: OpenScene | None,
        query: str,
        rerank: str,
        top_k: float,
        tile: float | None,
        gsd: float | None,
        bands: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how gradio hands it in
    ) -> tuple[str, OpenScene | None]:
        """Return a message, and the scene with its answer."""
        if scene is None:
            return _NO_SCENE, None
        try:
            hint = describe_query(query)
            scene = scene.indexed(self.bench.retriever(), Cut.read(tile, gsd, bands), progress)
            scene = scene.asked(text=query, top_k=int(top_k), rerank=rerank)
        except RsctirError as error:
            return _refused(error), replace(scene, answer=None)
        return answer_message(scene, hint), scene

    def draw(self, scene: OpenScene | None, heat: bool) -> tuple[Any, ...]:
        """Return scene, map, cards, table, both files, and the hits' panels."""
        hidden, closed = gr.update(visible=False), gr.update(visible=False)
        if scene is None:
            return None, None, "", gr.skip(), None, None, hidden, closed
        figure = scene_figure(scene, heat=heat)
        if scene.answer is None:
            return figure, map_update(scene), "", gr.skip(), None, None, hidden, closed
        with told():
            table, cards = hit_table(scene.answer), hit_cards(scene)
        shown = gr.update(visible=True)
        return figure, map_update(scene), cards, table, *files(scene.answer), shown, closed

    def show(
        self, scene: OpenScene, heat: bool, event: gr.EventData
    ) -> tuple[str, Any, int | None, Figure, Any]:
        """Open the hit that was clicked: detail, its panel, its rank, and both figures."""
        hit = item_of(event, hits_of(scene))
        figure = scene_figure(scene, heat=heat, chosen=hit.rank)
        with told():
            large = hit_detail(scene, hit)
        return large, gr.update(visible=True), hit.rank, figure, map_update(scene, hit.rank)

    def similar(
        self, scene: OpenScene | None, rank: int | None, top_k: float
    ) -> tuple[str, OpenScene | None]:
        """Search the scene for what looks like a hit; return a message and the scene."""
        if scene is None:
            return _NO_SCENE, None
        try:
            picture, _ = self.result(scene, rank)
            answered = scene.asked(image=picture, top_k=int(top_k))
        except RsctirError as error:
            return _refused(error), scene
        return answer_message(answered, None), answered

    def result(self, scene: OpenScene | None, rank: int | None) -> tuple[Image.Image | None, str]:
        """Return the picture of the open hit and the words that found it, for another tab."""
        hit = hit_of(scene, rank)
        if scene is None or scene.index is None or scene.answer is None or hit is None:
            return None, ""
        with told():
            return scene.index.picture_of(hit.window), scene.answer.text or ""

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
            return _refused(error, "This scene cannot be used"), None, gr.update(visible=False)
        return opened_message(scene), scene, gr.update(visible=True)


@contextmanager
def told() -> Iterator[None]:
    """Turn an error of the library, such as a file that is gone, into one that the page shows."""
    try:
        yield
    except RsctirError as error:
        raise gr.Error(without_folders(error)) from error


def hit_of(scene: OpenScene | None, rank: int | None) -> SceneHit | None:
    """Return the hit of a rank, if there is one."""
    return next((hit for hit in hits_of(scene) if hit.rank == rank), None)


def hits_of(scene: OpenScene | None) -> tuple[SceneHit, ...]:
    """Return the hits that are shown; none before a search."""
    return scene.answer.hits if scene is not None and scene.answer is not None else ()


def map_update(scene: OpenScene, chosen: int | None = None) -> Any:  # noqa: ANN401
    """Return the map, hidden where the scene has no place on one."""
    figure = map_figure(scene, chosen=chosen)
    return gr.update(value=figure, visible=figure is not None)


def files(answer: SceneAnswer) -> tuple[str, str]:
    """Put GeoJSON and heat map into gradio's cache, which serves them and deletes them later."""
    text = json.dumps(answer.to_geojson(), indent=1)
    folder = get_upload_folder()
    return (
        save_bytes_to_cache(text.encode("utf-8"), "hits.geojson", folder),
        save_bytes_to_cache(heat_map_bytes(answer), "heat_map.tif", folder),
    )


def _refused(error: Exception, title: str = "This search cannot be answered") -> str:
    return notice("error", title, without_folders(error))


@dataclass(frozen=True)
class SceneTab:
    """What others refer to."""

    rerank: gr.Radio
    region_graph: gr.Button
    scene: gr.State
    rank: gr.State
    handlers: SceneHandlers


@dataclass(frozen=True)
class _Asking:
    """Where a scene is opened and asked."""

    upload: gr.File
    sample: gr.Button
    query: gr.Textbox
    button: gr.Button
    keep: gr.Button
    chips: list[gr.Button]
    saved: gr.HTML
    rerank: gr.Radio
    top_k: gr.Slider
    cut: list[gr.components.Component]


@dataclass(frozen=True)
class _Answer:
    """Where the scene and its hits are shown."""

    whole: gr.Column
    heat: gr.Checkbox
    figure: gr.Plot
    map: gr.Plot
    hits: gr.Column
    cards: gr.HTML
    table: gr.Dataframe
    geojson: gr.DownloadButton
    heat_file: gr.DownloadButton
    detail: gr.Column
    content: gr.HTML
    similar: gr.Button
    graph: gr.Button
    close: gr.Button


def build_scene_tab(bench: Workbench) -> SceneTab:
    """Lay the tab out and bind its events; call inside ``gr.Tab``."""
    handlers = SceneHandlers(bench)
    scene, rank = gr.State(None, time_to_live=FORGET_AFTER), gr.State(None)
    asking = _build_asking()
    message = gr.HTML(_WELCOME, elem_id="rs-scene-message")
    answer = _build_answer()
    drawn = [
        answer.figure, answer.map, answer.cards, answer.table,
        answer.geojson, answer.heat_file, answer.hits, answer.detail,
    ]  # fmt: skip
    draw = (handlers.draw, [scene, answer.heat], drawn)

    def then_draw(event: gr.events.Dependency) -> None:
        event.then(*draw, **REDRAW)

    opened = [message, scene, answer.whole]
    then_draw(asking.sample.click(handlers.open_sample, None, [*opened, asking.upload], **PRIVATE))
    then_draw(asking.upload.upload(handlers.open_upload, asking.upload, opened, **PRIVATE))
    asking.upload.clear(lambda: handlers.open_upload(None), None, opened, **PRIVATE)
    for trigger in _askings(handlers, asking):
        inputs = [scene, asking.query, asking.rerank, asking.top_k, *asking.cut]
        then_draw(trigger(handlers.search_scene, inputs, [message, scene], **_SCENE))
    answer.heat.input(*draw, **REDRAW)
    shown = [answer.content, answer.detail, rank, answer.figure, answer.map]
    answer.cards.select(handlers.show, [scene, answer.heat], shown, **PRIVATE).then(
        None, js=_SHOW_DETAIL, **PRIVATE
    )
    similar = answer.similar.click(
        handlers.similar, [scene, rank, asking.top_k], [message, scene], **MODEL
    )
    then_draw(similar)
    answer.close.click(lambda: gr.update(visible=False), None, answer.detail, **PRIVATE)
    return SceneTab(asking.rerank, answer.graph, scene, rank, handlers)


def _askings(handlers: SceneHandlers, asking: _Asking) -> list[Trigger]:
    """Return what asks the scene: Enter, the button, the examples and the kept queries."""
    kept = gr.State(())
    asking.keep.click(handlers.save, [asking.query, kept], [kept, asking.saved], **PRIVATE)

    def take(saved: tuple[str, ...], event: gr.EventData) -> str:
        return item_of(event, saved)

    taken = asking.saved.select(take, kept, asking.query, **PRIVATE)
    chips = [
        chip.click(lambda text: text, chip, asking.query, queue=False, **PRIVATE).then
        for chip in asking.chips
    ]
    return [asking.query.submit, asking.button.click, taken.then, *chips]


def _build_asking() -> _Asking:
    with gr.Row(elem_classes="rs-split"):
        with gr.Column(scale=2, min_width=280):
            upload = gr.File(
                label="Your scene (GeoTIFF, JPEG 2000; only you see it)",
                file_types=_SUFFIXES,
                height=150,
                elem_id="rs-scene-upload",
            )
            sample = gr.Button("Open the drawn sample scene", size="sm", elem_id="rs-scene-sample")
            cut = _build_cut()
        with gr.Column(scale=3, min_width=300):
            with gr.Row(elem_classes="rs-ask", equal_height=True):
                query = gr.Textbox(
                    label="What do you look for in the scene?",
                    placeholder=EXAMPLES[0],
                    lines=1,
                    max_lines=1,
                    scale=5,
                    min_width=200,
                    elem_id="rs-scene-query",
                )
                button = gr.Button(
                    "Search", variant="primary", scale=0, min_width=100, elem_id="rs-scene-go"
                )
            with gr.Row(elem_classes="rs-chips"):
                chips = [gr.Button(text, size="sm", elem_classes="rs-chip") for text in EXAMPLES]
            with gr.Row(elem_classes="rs-chips"):
                keep = gr.Button("Save this query", size="sm", elem_id="rs-scene-keep")
                saved = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-scene-saved")
            with gr.Row(elem_classes="rs-controls"):
                rerank = gr.Radio(
                    rerank_choices(can_match=False),
                    value=NO_RERANK,
                    label="Rerank",
                    info=RERANK_HELP,
                    elem_id="rs-scene-rerank",
                )
                top_k = gr.Slider(1, 30, value=8, step=1, label="Hits", min_width=160)
    return _Asking(upload, sample, query, button, keep, chips, saved, rerank, top_k, cut)


def _build_cut() -> list[gr.components.Component]:
    with gr.Accordion("Raster options", open=False):
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


def _build_answer() -> _Answer:
    with gr.Column(visible=False) as whole:
        with gr.Row(elem_classes="rs-split"):
            with gr.Column(scale=1, min_width=300):
                figure = gr.Plot(show_label=False, elem_id="rs-scene-figure", container=False)
                heat = gr.Checkbox(True, label="Heat map: where the scores are high")
            with gr.Column(scale=1, min_width=300):
                ground = gr.Plot(show_label=False, elem_id="rs-scene-map", container=False)
        with gr.Column(visible=False) as hits, gr.Row(elem_classes="rs-split"):
            with gr.Column(scale=3, min_width=300):
                cards = gr.HTML("", js_on_load=SELECT_ITEM, elem_id="rs-scene-hits")
                table = gr.Dataframe(
                    headers=list(MAP_COLUMNS),
                    label="Hits, their middles",
                    interactive=False,
                    elem_id="rs-scene-table",
                )
                with gr.Row():
                    geojson = gr.DownloadButton("Download GeoJSON", size="sm", elem_id="rs-geojson")
                    heat_file = gr.DownloadButton("Download heat map (GeoTIFF)", size="sm")
            detail, content, (similar, graph, close) = _build_detail()
    return _Answer(
        whole, heat, figure, ground, hits, cards, table, geojson, heat_file,
        detail, content, similar, graph, close,
    )  # fmt: skip


def _build_detail() -> tuple[gr.Column, gr.HTML, tuple[gr.Button, gr.Button, gr.Button]]:
    with gr.Column(
        visible=False, scale=2, min_width=300, elem_id="rs-scene-detail", elem_classes="rs-panel"
    ) as panel:
        content = gr.HTML("")
        with gr.Row():
            similar = gr.Button("Find similar", size="sm", min_width=80, elem_id="rs-scene-alike")
            graph = gr.Button("Region graph", size="sm", min_width=80, elem_id="rs-scene-graph")
            close = gr.Button("Close", size="sm", min_width=60)
    return panel, content, (similar, graph, close)
