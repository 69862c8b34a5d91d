"""What one visitor may ask of the app: sizes, rates and how many at once.

SECURITY.md lists these limits. ``RequestLimits`` enforces those of requests, before gradio reads
one.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

#: Runs of one light event at a time; those that run a model share a single slot.
AT_ONCE = 2
#: Visitors' requests that may queue; the next is told that the app is busy.
MOST_WAITING = 64
#: Sessions that are remembered; the one unheard longest is forgotten first. Gradio keeps a copy of
#: the settings of the whole page for each (240 KB), a call without a session counts as one, and its
#: own limit is 10,000. Messages wait for as many (``mailboxes``).
MOST_SESSIONS = 250
#: Largest file that may be uploaded.
MAX_FILE = "200mb"
#: Pictures that one visitor may add to a search of their own.
MAX_OWN_PICTURES = 200
#: Pixels of a visitor's picture. A file of half a megabyte may hold 180 million, and several are
#: read at once.
MAX_PICTURE_PIXELS = 40_000_000
#: Pixels of a scene: all of them are read once when it is opened.
MAX_SCENE_PIXELS = 1_000_000_000
#: Largest upload request, all of its files together, in bytes.
MAX_UPLOAD = 512 * 2**20
#: Largest other request, in bytes: words, numbers and the names of uploads.
MAX_BODY = 2 * 2**20
#: Requests that one address may make in a burst, those for the page's own files not counted.
BURST = 200
#: Requests a minute that one address may make on and on.
PER_MINUTE = 900

_MOST_ADDRESSES = 10_000  # remembered; the one unheard longest is forgotten first
_PAGE_FILES = ("/assets/", "/static/")  # of gradio's package; every visit asks for all of them
_UPLOAD_PATHS = ("/gradio_api/upload", "/upload")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TooLargeError(Exception):
    """A body without a stated length went over its limit."""


@dataclass
class _Bucket:
    """Requests that an address may still make at once, and when that was last counted."""

    left: float
    counted: float


class RequestLimits:
    """ASGI middleware: refuses too large a request with 413 and one too many with 429.

    A token bucket for each address: ``burst`` requests at once, refilled at ``per_minute``. The
    files of which the page is made are not counted.

    Args:
        app: what answers.
        burst: requests at once.
        per_minute: requests a minute on average.
        behind_proxy: take the address from ``X-Forwarded-For``, which a Space's proxies extend;
            elsewhere anybody could write anything there.
        clock: seconds; tests hand in their own.
    """

    def __init__(
        self,
        app: App,
        *,
        burst: int = BURST,
        per_minute: int = PER_MINUTE,
        behind_proxy: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.burst = burst
        self.per_second = per_minute / 60
        self.behind_proxy = behind_proxy
        self.clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not scope["path"].startswith(_PAGE_FILES):
            wait = self._seconds_to_wait(self._address(scope, headers))
            if wait > 0:
                await _too_many(wait)(scope, receive, send)
                return
        limit = MAX_UPLOAD if scope["path"].startswith(_UPLOAD_PATHS) else MAX_BODY
        if _stated_length(headers) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        await self._answer(scope, receive, send, limit)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Answer while counting the body: a request need not state its length."""
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise TooLargeError
            return message

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, counted, sent)
        except TooLargeError:
            if not begun:
                await _too_large(limit)(scope, receive, send)

    def _address(self, scope: Scope, headers: Headers) -> str:
        if self.behind_proxy:
            forwarded = _last_public(headers.get("x-forwarded-for", ""))
            if forwarded:
                return forwarded
        client = scope.get("client")
        return client[0] if client else ""

    def _seconds_to_wait(self, address: str) -> float:
        """Take one request from an address's bucket; 0 where there was one."""
        now = self.clock()
        bucket = self._buckets.pop(address, None) or _Bucket(self.burst, now)
        bucket.left = min(self.burst, bucket.left + (now - bucket.counted) * self.per_second)
        bucket.counted = now
        self._buckets[address] = bucket
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        if bucket.left >= 1:
            bucket.left -= 1
            return 0.0
        return (1 - bucket.left) / self.per_second


def _last_public(forwarded: str) -> str | None:
    """Return the address that the outermost proxy saw: what stands before it, anybody may write."""
    for part in reversed(forwarded.split(",")):
        try:
            address = ip_address(part.strip())
        except ValueError:
            return None
        if address.is_global:
            return str(address)
    return None


def _stated_length(headers: Headers) -> int:
    stated = headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdigit() else 0


def _too_large(limit: int) -> Response:
    return PlainTextResponse(
        f"This request is too large: at most {limit / 2**20:,.0f} MB are taken.", status_code=413
    )


def _too_many(wait: float) -> Response:
    return PlainTextResponse(
        "The app is busy: too many requests from your address. Try again in a moment.",
        status_code=429,
        headers={"Retry-After": str(max(1, round(wait)))},
    )
