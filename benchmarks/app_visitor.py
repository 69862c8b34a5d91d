"""One visitor of an app over plain HTTP, as the page asks: a session, uploads, events, endpoints.

Each visitor has an address of loopback of its own, as visitors of a Space have, so that limits by
address count each of them alone.
"""

import http.client
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from random import Random
from typing import Any

from urllib3.filepost import encode_multipart_formdata

_PATIENCE = 300.0  # seconds until an answer counts as lost
_BUSY = (429, 503)


class BusyError(Exception):
    """The app says politely that it is busy."""


class RefusedError(Exception):
    """The app answers with anything but an answer."""


@dataclass
class Visitor:
    """A visitor with a session.

    Attributes:
        port: of the app on loopback.
        number: 0 to 249; makes the address and the visitor's random numbers.
    """

    port: int
    number: int
    session: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.number)

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> str:
        """Send one request and return the whole answer.

        Raises:
            BusyError: the app asks to come again later.
            RefusedError: any other status than 200.
        """
        address = (f"127.0.1.{self.number + 1}", 0)
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=_PATIENCE, source_address=address
        )
        try:
            method = "GET" if body is None else "POST"
            connection.request(method, path, body=body, headers={"Content-Type": kind})
            answer = connection.getresponse()
            text = read_whole(answer, time.monotonic() + _PATIENCE).decode("utf-8")
        except OSError as error:
            raise RefusedError(f"{path}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if answer.status in _BUSY and "raceback" not in text:
            raise BusyError(text)
        if answer.status != 200:
            raise RefusedError(f"{path}: status {answer.status}: {text[:300]}")
        return text

    def call(self, endpoint: str, *data: Any) -> Any:  # noqa: ANN401 - JSON
        """Call a named endpoint and return its first output."""
        path = f"/gradio_api/call/{endpoint}"
        joined = self.ask(path, json.dumps({"data": data}).encode())
        text = self.ask(f"{path}/{json.loads(joined)['event_id']}")
        if "event: complete" not in text:
            raise RefusedError(f"{endpoint}: {text[:300]}")
        return json.loads(text.rsplit("data: ", 1)[1])[0]

    def event(self, number: int, *data: Any) -> list[Any]:  # noqa: ANN401 - JSON
        """Ask for an event of the page and return its outputs."""
        sent = {"fn_index": number, "data": data, "session_hash": self.session}
        self.ask("/gradio_api/queue/join", json.dumps(sent).encode())
        text = self.ask(f"/gradio_api/queue/data?session_hash={self.session}")
        messages = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
        ended = next((each for each in messages if each["msg"] == "process_completed"), None)
        if ended is None or not ended["success"]:
            raise RefusedError(f"event {number}: {text[:300]}")
        return ended["output"]["data"]

    def upload(self, files: dict[str, bytes]) -> list[dict[str, Any]]:
        """Upload files and return them in the form in which events take them."""
        fields = [("files", (name, content, "image/png")) for name, content in files.items()]
        body, kind = encode_multipart_formdata(fields)
        paths = self.ask("/gradio_api/upload", body, kind)
        meta = {"_type": "gradio.FileData"}
        return [
            {"path": path, "orig_name": name, "meta": meta}
            for name, path in zip(files, json.loads(paths), strict=True)
        ]


def read_whole(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read an answer to its end: a stream of heartbeats may have none.

    Raises:
        TimeoutError: the deadline passed.
    """
    parts = []
    while part := answer.read1(2**16):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no end of the answer; so far: {part[-200:]!r}")
        parts.append(part)
    return b"".join(parts)


@dataclass
class Tally:
    """What happened to the requests of all visitors, kind by kind; safe to share by threads.

    Attributes:
        seconds: of every answer, by kind of request.
        busy: times that the app said it was busy.
        errors: what went wrong.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    busy: int = 0
    errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, kind: str, ask: Any) -> None:  # noqa: ANN401 - a function without arguments
        """Ask, and note how long it took or what went wrong."""
        began = time.perf_counter()
        try:
            ask()
        except BusyError:
            with self._lock:
                self.busy += 1
        except Exception as error:  # whatever it is, it is a finding
            with self._lock:
                self.errors.append(f"{kind}: {type(error).__name__}: {error}")
        else:
            with self._lock:
                self.seconds.setdefault(kind, []).append(time.perf_counter() - began)
