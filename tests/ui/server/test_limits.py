"""What one visitor may ask: too large a request gets 413, one too many 429, the rest an answer."""

import asyncio
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

from rsctir_hf.search.query import MAX_QUERY_CHARACTERS
from rsctir_hf.ui.server import limits
from rsctir_hf.ui.server.limits import RequestLimits

ROOT = Path(__file__).parents[3]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def echo(scope, receive, send):
    """Read the whole body and send its length back."""
    taken, more = 0, True
    while more:
        message = await receive()
        taken += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(taken).encode()})


def ask(app, *, path="/config", parts=(b"",), headers=(), address="192.0.2.1"):
    """Send one request; return status, headers and text of the answer."""
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "path": path, "headers": pairs, "client": (address, 1)}
    waiting = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1}
        for at, part in enumerate(parts)
    ]
    answers = []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        answers.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(answer.get("body", b"") for answer in answers)
    return answers[0]["status"], dict(answers[0]["headers"]), body.decode()


def test_a_body_is_handed_on_whole():
    assert ask(RequestLimits(echo), parts=(b"ab", b"cde"))[::2] == (200, "5")


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload"])
def test_a_body_that_says_it_is_too_large_is_refused_unread(path):
    most = limits.MAX_UPLOAD if path.endswith("upload") else limits.MAX_BODY
    app = RequestLimits(echo)
    assert ask(app, path=path, headers=[("content-length", str(most))])[0] == 200
    status, _, words = ask(app, path=path, headers=[("content-length", str(most + 1))])
    assert status == 413
    assert "too large" in words and "MB" in words


def test_a_body_that_does_not_say_its_length_is_counted(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BODY", 10)
    app = RequestLimits(echo)
    assert ask(app, parts=(b"12345", b"67890"))[0] == 200
    assert ask(app, parts=(b"12345", b"67890", b"1"))[0] == 413
    assert ask(app, parts=(b"12345678901",), headers=[("content-length", "-3")])[0] == 413


@pytest.fixture
def disk(monkeypatch, tmp_path):
    """A disk of uploads with a free space that tests set."""
    disk = SimpleNamespace(folder=tmp_path / "uploads", free=limits.LEAST_FREE)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(disk.folder))
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda folder: disk)
    return disk


def test_an_upload_leaves_room_on_the_disk(disk):
    app = RequestLimits(echo)
    assert ask(app, path="/gradio_api/upload")[0] == 200
    disk.free -= 1
    status, _, words = ask(app, path="/gradio_api/upload")
    assert (status, "no room for uploads" in words) == (503, True)
    assert ask(app, path="/gradio_api/queue/join")[0] == 200


def test_an_upload_that_fills_the_disk_is_broken_off(disk):
    async def store(scope, receive, send):
        more = True
        while more:
            message = await receive()
            disk.free -= len(message["body"])
            more = message["more_body"]

    disk.free += 3
    status, _, _ = ask(RequestLimits(store), path="/gradio_api/upload", parts=(b"12", b"34", b"5"))
    assert status == 503


def test_half_uploads_are_deleted_when_room_is_short(disk):
    (disk.folder / "whole").mkdir(parents=True)
    files = [disk.folder / name for name in ("tmp_old", "tmp_new", "whole/tmp_picture.png")]
    for file in files:
        file.touch()
    for file in (files[0], files[2]):
        os.utime(file, (0, 0))
    ask(RequestLimits(echo), path="/gradio_api/upload")
    assert all(file.exists() for file in files)
    disk.free = 0
    ask(RequestLimits(echo), path="/gradio_api/upload")
    assert [file.exists() for file in files] == [False, True, True]


def test_a_refusal_stands_though_the_app_has_words_of_its_own_for_a_broken_body(monkeypatch):
    async def forgiving(scope, receive, send):
        try:
            await echo(scope, receive, send)
        except Exception:  # as FastAPI does
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"an error parsing the body"})

    monkeypatch.setattr(limits, "MAX_BODY", 3)
    status, _, words = ask(RequestLimits(forgiving), parts=(b"1234",))
    assert (status, "too large" in words) == (413, True)
    assert "parsing" not in words


def test_an_address_that_asks_too_often_waits_and_others_do_not():
    clock = Clock()
    app = RequestLimits(echo, burst=3, per_minute=60, clock=clock)
    assert [ask(app)[0] for _ in range(4)] == [200, 200, 200, 429]
    assert ask(app, address="192.0.2.2")[0] == 200
    status, headers, words = ask(app)
    assert (status, headers[b"retry-after"]) == (429, b"1")
    assert "busy" in words
    clock.now = 1.0  # a second later one more is there, not two
    assert [ask(app)[0] for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(("path", "counted"), [("/assets/index.js", False), ("/config", True)])
def test_the_files_of_the_page_are_not_counted(path, counted):
    app = RequestLimits(echo, burst=2, clock=Clock())
    assert [ask(app, path=path)[0] for _ in range(3)] == [200, 200, 429 if counted else 200]


def test_what_is_not_asked_for_is_not_saved_up_beyond_a_burst():
    clock = Clock()
    app = RequestLimits(echo, burst=2, per_minute=60, clock=clock)
    ask(app)
    clock.now = 3600.0
    assert [ask(app)[0] for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("forwarded", "same"),
    [
        ("9.9.9.9, 8.8.8.8", True),  # what stands before the last public one, anybody may write
        ("8.8.8.8, 10.0.0.7", True),  # the Space's own second proxy
        ("8.8.4.4", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_behind_a_proxy_visitors_are_told_apart_by_what_the_proxy_saw(forwarded, same):
    app = RequestLimits(echo, burst=1, behind_proxy=True, clock=Clock())
    assert ask(app, headers=[("x-forwarded-for", "8.8.8.8")])[0] == 200
    second = ask(app, headers=[("x-forwarded-for", forwarded)])[0]
    assert second == (429 if same else 200)


def test_behind_a_proxy_a_header_of_the_visitor_s_own_changes_nothing():
    app = RequestLimits(echo, burst=1, behind_proxy=True, clock=Clock())
    for forged, status in (("9.9.9.9", 200), ("1.1.1.1", 429)):
        headers = [("x-forwarded-for", forged), ("x-forwarded-for", "8.8.8.8")]
        assert ask(app, headers=headers)[0] == status


def test_the_addresses_of_one_ipv6_network_are_one_visitor():
    app = RequestLimits(echo, burst=1, clock=Clock())
    assert [ask(app, address=f"2001:db8::{last}")[0] for last in (1, 2)] == [200, 429]
    assert ask(app, address="2001:db8:0:1::1")[0] == 200


def test_without_a_proxy_the_header_changes_nothing():
    app = RequestLimits(echo, burst=1, clock=Clock())
    assert ask(app, headers=[("x-forwarded-for", "8.8.8.8")])[0] == 200
    assert ask(app, headers=[("x-forwarded-for", "8.8.4.4")])[0] == 429


def test_addresses_unheard_for_long_are_forgotten(monkeypatch):
    monkeypatch.setattr(limits, "_MOST_ADDRESSES", 2)
    app = RequestLimits(echo, burst=1, clock=Clock())
    for last in (1, 2, 3):
        assert ask(app, address=f"192.0.2.{last}")[0] == 200
    assert ask(app, address="192.0.2.3")[0] == 429
    assert ask(app, address="192.0.2.1")[0] == 200


def test_other_connections_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(RequestLimits(app, burst=0)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]


def test_security_md_lists_the_limits_as_they_are():
    written = (ROOT / "SECURITY.md").read_text()
    rows = re.findall(r"\| `([A-Z_]+)` \| (\S+) \|", written)
    named = {name: str(value) for name, value in vars(limits).items() if name.isupper()}
    assert dict(rows) == {name: value for name, value in named.items() if name[0] != "_"}
    assert f"A query has at most {MAX_QUERY_CHARACTERS:,} characters." in written
