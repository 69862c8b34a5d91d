"""What strangers get from a running app: its pictures and answers, and nothing else of the server.

Requests are written by hand: gradio's own client and page would never send most of them.
"""

import http.client
import json
import subprocess
import sys
import time
from itertools import cycle
from urllib.parse import quote, urlsplit

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

from rsctir_hf.search.query import MAX_QUERY_CHARACTERS
from rsctir_hf.ui.server.limits import BURST, MAX_BODY
from tests.app_server import ROOT, running_app
from tests.ui.tiny_models import save_launch

pytestmark = pytest.mark.slow

SECRET = "the secret of the server"
#: What each endpoint takes behind the picture.
BEHIND_PICTURE = {
    "image_to_text": ("none", 3),
    "image_to_image": ("none", 3, False),
    "region_graph": (),
}
PICTURE_ENDPOINTS = tuple(BEHIND_PICTURE)
FILE = {"meta": {"_type": "gradio.FileData"}}


class App:
    """A running app and what lies beside it on its server."""

    def __init__(self, url, folder):
        self.address = urlsplit(url).netloc
        self.folder = folder
        self.secret = folder / "secret.txt"
        self.secret.write_text(SECRET)

    def ask(self, path, body=None, headers=()):
        """Send one request, again when told to wait; return status and text of the answer."""
        status, text, wait = self.ask_once(path, body, headers)
        while status == 429:
            time.sleep(wait)
            status, text, wait = self.ask_once(path, body, headers)
        return status, text

    def ask_once(self, path, body=None, headers=()):
        """Send one request; return status, text and seconds to wait."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        given = {"Content-Type": "application/json", **dict(headers)}
        try:
            connection.request(method, path, body=sent, headers=given)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            return answer.status, text, int(answer.headers.get("Retry-After", 0))
        finally:
            connection.close()

    def call(self, endpoint, *data):
        """Call an endpoint as any client may; return all that comes back."""
        path = f"/gradio_api/call/{endpoint}"
        status, text = self.ask(path, {"data": list(data)})
        if status != 200:
            return text
        return self.ask(f"{path}/{json.loads(text)['event_id']}")[1]

    def join(self, event, data, *, event_data=None):
        """Ask for an event of the page as the page does; return the messages up to its end."""
        session = f"session{event}"
        sent = {"fn_index": event, "data": data, "event_data": event_data, "session_hash": session}
        status, text = self.ask("/gradio_api/queue/join", sent)
        if status != 200:
            return text
        return self.ask(f"/gradio_api/queue/data?session_hash={session}")[1]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exposed")
    flags = save_launch(folder)
    with running_app(flags, folder / "log.txt") as url:
        yield App(url, folder)


def test_files_of_the_server_are_not_served(app):
    gallery = next(iter(sorted((app.folder / "gallery").glob("block_*.png"))))
    files = [app.secret, ROOT / "app.py", gallery, "/etc/hostname", "/proc/self/environ"]
    for file in files:
        for prefix in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/"):
            status, text = app.ask(prefix + quote(str(file)))
            assert status in (403, 404), (prefix, file)
            assert SECRET not in text
    for way in ("../../../../etc/hostname", "..%2f..%2f..%2fetc%2fhostname", "%2e%2e/app.py"):
        assert app.ask(f"/gradio_api/file={way}")[0] in (403, 404)
        assert app.ask(f"/theme.css/{way}")[0] in (403, 404)


@pytest.mark.parametrize("endpoint", PICTURE_ENDPOINTS)
def test_an_uploaded_picture_is_read(app, endpoint):
    """What the refusals below are refusals of."""
    picture = next(iter(sorted((app.folder / "gallery").glob("block_*.png"))))
    line = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = line + picture.read_bytes() + b"\r\n--x--\r\n"
    kind = [("Content-Type", "multipart/form-data; boundary=x")]
    (path,) = json.loads(app.ask("/gradio_api/upload", body, kind)[1])
    answer = app.call(endpoint, {"path": path, **FILE}, *BEHIND_PICTURE[endpoint])
    assert "event: complete" in answer


@pytest.mark.parametrize("endpoint", PICTURE_ENDPOINTS)
@pytest.mark.parametrize("meta", [{}, FILE])
def test_a_picture_that_was_not_uploaded_is_not_read(app, endpoint, meta):
    """Without ``meta`` gradio's own check is passed by."""
    picture = next(iter(sorted((app.folder / "gallery").glob("block_*.png"))))
    for file in (picture, app.secret, app.folder / ".." / "x.png"):
        answer = app.call(endpoint, {"path": str(file), **meta}, *BEHIND_PICTURE[endpoint])
        assert "event: error" in answer
        assert "event: complete" not in answer
        assert SECRET not in answer


@pytest.mark.parametrize("endpoint", PICTURE_ENDPOINTS)
def test_the_app_fetches_nothing_that_a_client_names(app, canary, endpoint):
    host, asked = canary
    for address in (f"http://{host}/a.png", f"http://localhost:{host.split(':')[1]}/b.png"):
        for meta in ({}, FILE):
            for picture in ({"path": address}, {"url": address}, {"path": "x.png", "url": address}):
                answer = app.call(endpoint, {**picture, **meta}, *BEHIND_PICTURE[endpoint])
                assert "event: complete" not in answer
        for way in (f"/gradio_api/proxy={address}", f"/gradio_api/file={address}"):
            assert app.ask(way)[0] in (400, 403, 404)
    assert asked == []


def test_a_request_of_megabytes_is_refused(app):
    status, text = app.ask("/gradio_api/queue/join", b" " * (MAX_BODY + 1))
    assert status == 413
    assert "too large" in text


def test_who_asks_without_end_is_told_to_wait(app):
    answers = [app.ask_once("/openapi.json") for _ in range(BURST + 50)]
    assert {status for status, _, _ in answers} == {404, 429}
    refused = [answer for answer in answers if answer[0] == 429]
    assert all("busy" in text and wait >= 1 for _, text, wait in refused)
    assert app.ask("/config")[0] == 200


def test_a_text_of_pages_is_refused_in_words(app):
    answer = app.call("text_to_image", "x" * (MAX_QUERY_CHARACTERS + 1), "none", 3, False)
    assert "event: error" in answer
    assert "2,001 characters" in answer


@pytest.mark.parametrize(
    "data",
    [
        (),
        (None, None, None, None),
        ({"a": 1}, [], "NaN", "x"),
        ("boats", "none", "NaN", False),
        ("boats", "sideways", 3, False),
        ("boats\ud800", "none", -7, False),
    ],
)
def test_no_answer_tells_of_code_or_folders(app, data):
    for endpoint in ("text_to_image", *PICTURE_ENDPOINTS):
        answer = app.call(endpoint, *data)
        assert "Traceback" not in answer
        assert ".py" not in answer
        assert str(app.folder) not in answer
        assert str(ROOT) not in answer
    assert "event: complete" in app.call("text_to_image", "boats", "none", 3, False)


def test_events_of_the_page_stand_forged_data(app):
    """Those that are no endpoints are asked through the queue, as the page does."""
    config = json.loads(app.ask("/config")[1])
    forged = (["/etc/hostname"], [{"path": str(app.secret)}], [{"path": str(app.secret)}, None, -1])
    for event, part in zip(config["dependencies"], cycle(forged), strict=False):
        data = (part * len(event["inputs"]))[: len(event["inputs"])]
        answer = app.join(event["id"], data, event_data={"item": 10**9})
        assert "process_completed" in answer, event["id"]
        assert "Traceback" not in answer
        assert SECRET not in answer
        assert str(ROOT) not in answer
    assert "event: complete" in app.call("text_to_image", "boats", "none", 3, False)


def test_no_request_goes_past_the_queue(app):
    config = json.loads(app.ask("/config")[1])
    waited = [event["id"] for event in config["dependencies"] if event["queue"]]
    assert len(waited) > 50
    for event in waited[:20]:
        status, text = app.ask("/gradio_api/run/predict", {"fn_index": event, "data": []})
        assert status == 404, text


def test_the_page_s_description_names_no_folder_of_the_server(app):
    for path in ("/config", "/gradio_api/info", "/"):
        status, text = app.ask(path)
        assert status == 200
        assert str(app.folder) not in text
        assert str(ROOT) not in text
    assert app.ask("/openapi.json")[0] == 404


def test_nothing_is_told_to_anybody_unless_asked_for():
    """Gradio's analytics and the Hub client's telemetry are off in a plain environment."""
    code = (
        "import app, os, huggingface_hub.constants as hub, gradio.analytics as analytics;"
        "print(hub.HF_HUB_DISABLE_TELEMETRY, analytics.analytics_enabled())"
    )
    plain = {"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=plain, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "False"], done.stderr[-2000:]
