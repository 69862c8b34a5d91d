"""A visitor who does not listen takes nothing from the others."""

import asyncio

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

import httpx
from gradio_client import Client

from rsctir_hf.ui import layout
from rsctir_hf.ui.layout import build_app, launch_options
from rsctir_hf.ui.server.mailboxes import Mailboxes
from rsctir_hf.ui.server.settings import AppSettings


def filled(most, sessions):
    unanswered = {session: set() for session in sessions}
    boxes = Mailboxes(most, unanswered)
    for session in sessions:
        boxes[session] = asyncio.Queue()
    return boxes, unanswered


def test_the_session_unheard_longest_is_forgotten_first():
    boxes, unanswered = filled(3, "abc")
    assert boxes["a"] is boxes["a"]  # heard
    boxes["d"] = asyncio.Queue()
    assert list(boxes) == ["c", "a", "d"]
    assert list(unanswered) == ["a", "c"]


def test_a_message_to_a_forgotten_session_is_dropped():
    boxes, _ = filled(2, "abc")
    boxes["a"].put_nowait("too late")
    assert list(boxes) == ["b", "c"]
    assert boxes.get("a") is None


@pytest.fixture
def url(bench, monkeypatch):
    monkeypatch.setattr(layout, "MOST_SESSIONS", 3)
    demo = build_app(bench)
    yield demo.launch(prevent_thread_lock=True, quiet=True, **launch_options(AppSettings()))[1]
    demo.close()


def test_the_queue_outlives_visitors_that_never_fetch_their_answer(url):
    search = {"data": ["a pier", "none", 1, False]}
    for _ in range(12):
        httpx.post(f"{url}gradio_api/call/text_to_image", json=search).raise_for_status()
    client = Client(url, verbose=False)
    assert client.predict("a pier", api_name="/text_to_image")["results"]
