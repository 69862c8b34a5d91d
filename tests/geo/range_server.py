"""A server on loopback that answers range requests, as those of rasters do."""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.parse import unquote

import pytest


class Ranges(BaseHTTPRequestHandler):
    """Serves a folder by ranges; /code/N/ answers with the status N."""

    folder = Path()
    asked: ClassVar[list[str]] = []

    def log_message(self, *_):
        """Stay silent."""

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        path = self.path.split("?")[0]
        self.asked.append(self.path)
        code = re.match(r"/code/(\d+)/", path)
        file = self.folder / unquote(path).lstrip("/")
        if code or not file.is_file():
            self.send_response(int(code[1]) if code else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = whole = file.read_bytes()
        if wanted := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), int(wanted[2] or len(whole) - 1)
            content = whole[first : last + 1]
            self.send_response(206)
            end = first + len(content) - 1
            self.send_header("Content-Range", f"bytes {first}-{end}/{len(whole)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.setenv("GDAL_HTTP_CONNECTTIMEOUT", "2")
    Ranges.folder, Ranges.asked = tmp_path, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
