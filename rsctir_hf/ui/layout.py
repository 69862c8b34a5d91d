"""The whole page: header, tabs, and what ties the tabs together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from rsctir_hf.ui.endpoints import build_endpoints
from rsctir_hf.ui.loop_endpoints import build_loop_endpoints
from rsctir_hf.ui.server.events import PRIVATE, REDRAW, Trigger
from rsctir_hf.ui.server.limits import AT_ONCE, MAX_FILE, MOST_SESSIONS, MOST_WAITING, RequestLimits
from rsctir_hf.ui.server.mailboxes import keep_mailboxes
from rsctir_hf.ui.server.settings import AppSettings
from rsctir_hf.ui.server.uploads import fetch_nothing
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.tabs.about_tab import build_about_tab, figures_table, library_box
from rsctir_hf.ui.tabs.controls import ResultTab, rerank_offer
from rsctir_hf.ui.tabs.picture_tab import build_picture_tab
from rsctir_hf.ui.tabs.region_tab import build_region_tab
from rsctir_hf.ui.tabs.scene_tab import build_scene_tab
from rsctir_hf.ui.tabs.search_tab import build_search_tab
from rsctir_hf.ui.views.header import header
from rsctir_hf.ui.views.results import FINE
from rsctir_hf.ui.views.samples import sample_strip

PAGE_TITLE = "rsctir: search remote-sensing pictures"
STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("app.css", "app.js"))
#: Uploads are looked for every hour and deleted after a day.
DELETE_CACHE = (3600, 86400)
_TICK = 1.0  # seconds between looks at a launch that is not ready
_SANS = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
_TEAL = "#0f766e"
#: Gradio's names of colours, each in the light and in the dark page.
_COLOURS = {
    "body_background_fill": ("#f4f6f5", "#0d1518"),
    "block_background_fill": ("#ffffff", "#142024"),
    "block_border_color": ("#dde4e2", "#24343a"),
    "block_label_background_fill": ("transparent", "transparent"),
    "block_title_text_color": ("#10222b", "#e8f0ef"),
    "body_text_color": ("#10222b", "#e8f0ef"),
    "body_text_color_subdued": ("#52656e", "#9db1b5"),
    "block_label_text_color": ("#52656e", "#9db1b5"),
    "input_placeholder_color": ("#5b6d75", "#93a6aa"),
    "block_info_text_color": ("#52656e", "#9db1b5"),
    "slider_color": (_TEAL, "#2dd4bf"),
    "input_background_fill": ("#f4f6f5", "#0d1518"),
    "button_secondary_background_fill": ("#e3f1ee", "#12312f"),
    "button_secondary_background_fill_hover": ("#d3e8e4", "#184240"),
    "button_secondary_text_color": ("#10222b", "#e8f0ef"),
    "button_primary_background_fill": (_TEAL, "#14b8a6"),
    "button_primary_background_fill_hover": ("#0b5d57", "#2dd4bf"),
    "button_primary_text_color": ("#ffffff", "#06201d"),
}


def build_app(bench: Workbench) -> gr.Blocks:
    """Build the page on what a launch serves; nothing is loaded before the first visitor."""
    fetch_nothing()
    with gr.Blocks(
        title=PAGE_TITLE, delete_cache=DELETE_CACHE, analytics_enabled=False, fill_width=True
    ) as demo:
        top = gr.HTML(header(bench), elem_id="rs-top")
        timer = gr.Timer(_TICK)
        # The two tabs that a result opens in are mounted from the start, to take its picture.
        with gr.Tabs(elem_id="rs-tabs") as tabs:
            with gr.Tab("Search", id="search"):
                search, launched = build_search_tab(bench, tabs)
            with gr.Tab("Picture", id="picture", render_children=True):
                picture = build_picture_tab(bench)
            with gr.Tab("Region graph", id="regions", render_children=True):
                regions = build_region_tab(bench)
            with gr.Tab("Scene", id="scene"):
                scene, take_scene = build_scene_tab(bench)
            with gr.Tab("About", id="about"):
                about = build_about_tab(bench)
        build_endpoints(bench)
        build_loop_endpoints(bench)
        graphs = [regions.chooser.picture, regions.control]
        for results in (search, picture.results, scene):
            explained = _explained_in(tabs, results, graphs)
            regions.answer(regions.chooser.take(explained))
        take_scene(picture.to_scene.click, picture.query.chooser.source, tabs)
        watched = [
            top, timer, search.rerank, picture.query.control, scene.rerank,
            picture.query.chooser.samples, regions.chooser.samples, *about,
        ]  # fmt: skip
        watch = _watcher(bench, len(watched), launched.fill)
        for trigger in (demo.load, timer.tick):
            trigger(watch, launched.given, [*watched, *launched.filled], **REDRAW)
        tabs.change(None, js="() => window.rsctir.keepTab()", **PRIVATE)
    # Not open: requests past the queue would pass its limits too.
    demo.queue(max_size=MOST_WAITING, default_concurrency_limit=AT_ONCE, api_open=False)
    keep_mailboxes(demo, MOST_SESSIONS)
    return demo


def launch_options(settings: AppSettings) -> dict[str, Any]:
    """Return what ``demo.launch`` is called with: loopback unless the settings say otherwise.

    No folder is opened to visitors: pictures reach the page as data.
    """
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "inbrowser": settings.open_browser,
        "theme": theme(),
        "css_paths": STYLE,
        "head": f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
        "footer_links": ["api", "settings"],
        "max_file_size": MAX_FILE,
        "state_session_capacity": MOST_SESSIONS,
        "allowed_paths": [],
        "show_error": False,
        "enable_monitoring": False,
        "share": False,
        # Gradio would end the app where a busy machine takes 3 s to answer its first request.
        "_frontend": False,
        "ssr_mode": False,
        "mcp_server": settings.mcp,
        # Gradio's own pages about its API stay; FastAPI's, which know nothing of it, do not.
        "app_kwargs": {
            "openapi_url": None,
            "middleware": [Middleware(RequestLimits, behind_proxy=settings.on_space)],
        },
    }


def theme() -> gr.themes.Base:
    """Return the colours, spacing and system fonts of the page; nothing is fetched from afar."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.cyan,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=_SANS,
        font_mono=_MONO,
    )
    dark = {f"{name}_dark": colour for name, (_, colour) in _COLOURS.items()}
    return base.set(
        block_title_text_weight="600",
        block_radius="14px",
        checkbox_background_color_selected=_TEAL,
        checkbox_border_color_selected=_TEAL,
        **{name: colour for name, (colour, _) in _COLOURS.items()},
        **dark,
    )


def _explained_in(tabs: gr.Tabs, results: ResultTab, taking: list[Any]) -> Trigger:
    """Let an open result fill the region tab, picture and words: in one event, returned here."""

    def take(*opened: Any) -> tuple[Any, ...]:  # noqa: ANN401 - values of the states
        return gr.Tabs(selected="regions"), *results.result(*opened)

    return results.detail.graph.click(take, results.opened, [tabs, *taking], **PRIVATE).success


def _watcher(
    bench: Workbench, outputs: int, fill: Callable[..., tuple[Any, ...]]
) -> Callable[..., tuple[Any, ...]]:
    """Return the handler that keeps the page up to date until the launch is over."""

    def watch(shown: Any, visit: Any, request: gr.Request) -> tuple[Any, ...]:  # noqa: ANN401
        bench.start()
        changed = [gr.skip()] * (outputs - 1)
        if bench.status.over:
            has = bench.reranks
            choices = [gr.update(**rerank_offer(each)) for each in (has, has, {*has} - {FINE})]
            strip, stopped = sample_strip(bench.gallery), gr.Timer(active=False)
            about = figures_table(bench.facts), library_box(bench.model)
            changed = [stopped, *choices, *[strip] * 2, *about]
        # The gallery last: whoever asks meanwhile keeps the answer.
        return header(bench), *changed, *fill(shown, visit, request.query_params)

    return watch
