"""The page as a whole."""

import threading
import time
from types import SimpleNamespace

import httpx
from gradio_client import Client

from rsctir_hf.ui import layout
from rsctir_hf.ui.layout import STYLE, build_app, launch_options, theme
from rsctir_hf.ui.server import limits
from rsctir_hf.ui.server.model_facts import Figure, ModelFacts
from rsctir_hf.ui.server.settings import AppSettings
from rsctir_hf.ui.server.workbench import Phase, Status, Workbench
from rsctir_hf.ui.tabs.about_tab import figures_table
from rsctir_hf.ui.tabs.search_answers import Visit
from rsctir_hf.ui.views.results import ShownHits

# Handlers that run a model, by name; `explain` also serves the words of the region tab.
RUN_A_MODEL = {"search", "search_again", "add_pictures", "why", "similar", "describe"}
RUN_A_MODEL |= {"find_regions", "explain", "look", "restore"}
RUN_A_MODEL |= {"compose", "offer", "narrow", "search_marked", "save_concept", "open_concept"}
RUN_A_MODEL |= {"take_home", "where"}
RUN_A_MODEL |= {"find_pictures", "find_sentences", "find_similar_pictures", "region_graph"}
RUN_A_MODEL |= {
    "find_by_labels",
    "find_composed",
    "list_filters",
    "search_again",
    "export_pictures",
}
ENDPOINTS = {"/text_to_image", "/image_to_text", "/image_to_image", "/region_graph"}
ENDPOINTS |= {"/labels", "/composed_query", "/filters", "/marks", "/export"}


def test_building_the_page_loads_nothing_and_names_its_endpoints():
    bench = Workbench(AppSettings(model="no/such/model"))
    demo = build_app(bench)
    assert bench.status.phase is Phase.WAITING
    assert set(demo.get_api_info()["named_endpoints"]) == ENDPOINTS


def test_the_launch_is_local_and_opens_no_folder():
    options = launch_options(AppSettings())
    assert options["server_name"] is None
    assert options["allowed_paths"] == []
    assert not options["share"]
    assert not options["enable_monitoring"]
    assert options["max_file_size"] == limits.MAX_FILE


def test_a_launch_does_not_end_because_its_first_answer_takes_long(monkeypatch):
    monkeypatch.setattr("gradio.networking.url_ok", lambda _: False)  # what gradio then says
    demo = build_app(Workbench(AppSettings(model="no/such/model")))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options(AppSettings()))
    demo.close()
    assert url.startswith("http://127.0.0.1")


def test_uploads_are_deleted_after_a_day():
    assert build_app(Workbench(AppSettings(model="no/such/model"))).delete_cache == (3600, 86400)


def test_no_address_is_fetched_not_even_a_public_one(canary, bench, monkeypatch):
    monkeypatch.setattr("safehttpx.is_public_ip", lambda address: True)  # stands in for one
    host, asked = canary
    demo = build_app(bench)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options(AppSettings()))
    try:
        picture = {"path": f"http://{host}/a.png", "meta": {"_type": "gradio.FileData"}}
        event = httpx.post(f"{url}gradio_api/call/region_graph", json={"data": [picture]}).json()
        answer = httpx.get(f"{url}gradio_api/call/region_graph/{event['event_id']}", timeout=60)
    finally:
        demo.close()
    assert "event: error" in answer.text and "Addresses are not fetched" in answer.text
    assert asked == []


def test_the_sessions_of_visitors_long_gone_are_forgotten(monkeypatch):
    monkeypatch.setattr(layout, "MOST_SESSIONS", 3)
    demo = build_app(Workbench(AppSettings(model="no/such/model")))
    demo.launch(prevent_thread_lock=True, quiet=True, **launch_options(AppSettings()))
    try:
        for name in "abcad":
            _ = demo.state_holder[name]
        assert list(demo.state_holder.session_data) == ["c", "a", "d"]
    finally:
        demo.close()


def test_the_page_fetches_no_fonts_or_styles_from_afar():
    assert theme()._stylesheets == []
    style = STYLE.read_text(encoding="utf-8")
    assert "http" not in style
    assert "@import" not in style


def test_measured_figures_are_listed_with_data_and_rerank():
    figure = Figure(48.25, "ucm test", "smr", found=93.8, images=210)
    facts = ModelFacts("m", 10, (figure,), "UCM", can_match=False)
    table = figures_table(facts)
    assert "<td>ucm test, 210 pictures</td><td>SMR</td><td>94</td><td>48.2</td>" in table
    assert "Trained on UCM." in table
    assert "not evaluated" in figures_table(ModelFacts("m", 10, (), "", can_match=False))


def test_figures_of_one_data_set_stand_together():
    figures = [Figure(1, data, rerank) for rerank in ("none", "smr") for data in ("a", "b")]
    table = figures_table(ModelFacts("m", 10, tuple(figures), "", can_match=False))
    assert [row.split("<")[0] for row in table.split("<tr><td>")[1:]] == ["a", "a", "b", "b"]


def test_the_lines_of_python_name_the_model_that_an_index_was_opened_with():
    bench = Workbench(AppSettings(model="checkpoints/named"))
    demo = build_app(bench)
    bench.start = lambda: None
    bench.model, bench.status = "/srv/checkpoints/of-the-index", Status(Phase.READY)
    watch = next(event.fn for event in demo.fns.values() if event.name == "watch")
    shown = watch(ShownHits(), Visit(), SimpleNamespace(query_params={}))
    demo.close()
    assert any("from_pretrained(&quot;checkpoints/of-the-index" in str(one) for one in shown)


def test_events_that_run_a_model_share_one_slot_and_the_queue_is_limited():
    demo = build_app(Workbench(AppSettings(model="no/such/model")))
    heavy = [event for event in demo.fns.values() if event.name in RUN_A_MODEL]
    assert {event.name for event in heavy} == RUN_A_MODEL
    assert {(e.concurrency_id, e.concurrency_limit, e.queue) for e in heavy} == {("model", 1, True)}
    scenes = [event for event in demo.fns.values() if event.name == "search_scene"]
    assert {(e.concurrency_id, e.concurrency_limit, e.queue) for e in scenes} == {
        ("scene", 1, True)
    }
    light = [e for e in demo.fns.values() if e.name not in RUN_A_MODEL | {"search_scene"}]
    light = [e for e in light if (e.name, e.concurrency_id) != ("<lambda>", "model")]  # of labels
    assert {event.concurrency_limit for event in light} == {"default"}
    assert demo._queue.default_concurrency_limit == 2
    assert demo._queue.max_size == 64


def test_visitors_who_search_at_once_are_answered_one_after_another(bench, monkeypatch):
    retriever = bench.retriever()
    searches, running, most = retriever.search, threading.Semaphore(1), []

    def watched_search(*query, **options):
        alone = running.acquire(blocking=False)
        most.append(alone)
        time.sleep(0.1)
        if alone:
            running.release()
        return searches(*query, **options)

    monkeypatch.setattr(retriever, "search", watched_search)
    demo = build_app(bench)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    try:
        client = Client(url, verbose=False)
        jobs = [client.submit("a pier", api_name="/text_to_image") for _ in range(5)]
        assert all(job.result(timeout=60)["results"] for job in jobs)
    finally:
        demo.close()
    assert most == [True] * 5
