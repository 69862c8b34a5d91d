"""What one visitor may ask of the app: sizes, rates and how many at once.

SECURITY.md lists these limits. ``RequestLimits`` enforces those of requests, before gradio reads
one.
"""

import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Runs of one light event at a time; those that run a model share a single slot.
AT_ONCE = 2
#: Visitors' requests that may queue; the next is told that the app is busy.
MOST_WAITING = 64
#: Sessions that are remembered; the one unheard longest is forgotten first. Gradio keeps a copy of
#: the settings of the whole page for each (240 KB), a call without a session counts as one, and its
#: own limit is 10,000. Messages wait for as many (``mailboxes``).
MOST_SESSIONS = 250
#: Seconds after which an idle visitor's pictures, graph and scene are forgotten.
FORGET_AFTER = 3600
#: Largest file that may be uploaded.
MAX_FILE = "200mb"
#: Pictures that one visitor may add to a search of their own.
MAX_OWN_PICTURES = 200
#: Pictures that one visitor may mark good or bad.
MOST_MARKS = 1000
#: Pictures in the collection of one visitor.
MOST_COLLECTED = 1000
#: Pixels of a visitor's picture. A file of half a megabyte may hold 180 million, and several are
#: read at once.
MAX_PICTURE_PIXELS = 40_000_000
#: Pixels of a scene: all of them are read once when it is opened.
MAX_SCENE_PIXELS = 1_000_000_000
#: Largest upload request, all of its files together, in bytes.
MAX_UPLOAD = 512 * 2**20
#: Free bytes of the disk below which nothing is uploaded: what is there is kept for a day.
LEAST_FREE = 2 * 2**30
#: Largest other request, in bytes: words, numbers and the names of uploads.
MAX_BODY = 2 * 2**20
#: Requests that one address may make in a burst, those for the page's own files not counted.
BURST = 200
#: Requests a minute that one address may make on and on.
PER_MINUTE = 900

_MOST_ADDRESSES = 10_000  # remembered; the one unheard longest is forgotten first
_PAGE_FILES = ("/assets/", "/static/")  # of gradio's package; every visit asks for all of them
_UPLOAD_PATHS = ("/gradio_api/upload", "/upload")
_NO_ROOM = "The app is busy: it has no room for uploads now. Try again later."
_TOO_MANY = "The app is busy: too many requests from your address. Try again in a moment."
_BROKEN_OFF = 3600.0  # seconds after which a half upload counts as one


class RefusedError(Exception):
    """A request is refused while its body is read."""


class _Body:
    """Counts the body of a request while it is read.

    Attributes:
        refusal: what to answer once it is too large, or the disk too full.
    """

    def __init__(self, receive: Receive, *, limit: int, upload: bool) -> None:
        self._receive = receive
        self._limit = limit
        self._upload = upload
        self._taken = 0
        self.refusal: Response | None = None

    async def receive(self) -> Message:
        """Return the next part.

        Raises:
            RefusedError: it is not wanted any more.
        """
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > self._limit:
            self.refusal = _too_large(self._limit)
        elif self._upload and not has_room():
            self.refusal = PlainTextResponse(_NO_ROOM, status_code=503)
        if self.refusal is not None:
            raise RefusedError
        return message


class RequestLimits:
    """ASGI middleware: 413 for too large a request, 429 for one too many, 503 for a full disk.

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
        app: ASGIApp,
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
        # By address: requests that it may still make at once, and when that was last counted.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not scope["path"].startswith(_PAGE_FILES):
            wait = self._seconds_to_wait(self._address(scope, headers))
            if wait > 0:
                again = {"Retry-After": str(max(1, round(wait)))}
                await PlainTextResponse(_TOO_MANY, 429, again)(scope, receive, send)
                return
        upload = scope["path"].startswith(_UPLOAD_PATHS)
        limit = MAX_UPLOAD if upload else MAX_BODY
        if _stated_length(headers) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        if upload and not has_room():
            remove_half_uploads()
        await self._answer(scope, _Body(receive, limit=limit, upload=upload), send)

    async def _answer(self, scope: Scope, body: "_Body", send: Send) -> None:
        """Answer, or refuse on the way: a request need not state its length."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            if begun or body.refusal is None:  # else what the app makes of a body that broke off
                begun = True
                await send(message)

        try:
            await self.app(scope, body.receive, sent)
        except Exception:
            if body.refusal is None:
                raise
        if body.refusal is not None and not begun:
            await body.refusal(scope, body.receive, send)

    def _address(self, scope: Scope, headers: Headers) -> str:
        if self.behind_proxy:
            forwarded = _last_public(",".join(headers.getlist("x-forwarded-for")))
            if forwarded:
                return _network(forwarded)
        client = scope.get("client")
        return _network(client[0]) if client else ""

    def _seconds_to_wait(self, address: str) -> float:
        """Take one request from an address's bucket; 0 where there was one."""
        now = self.clock()
        left, counted = self._buckets.pop(address, (self.burst, now))
        left = min(self.burst, left + (now - counted) * self.per_second)
        self._buckets[address] = (left - 1 if left >= 1 else left), now
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.per_second


def has_room() -> bool:
    """Whether the disk of the uploads has room for more."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free >= LEAST_FREE


def remove_half_uploads() -> None:
    """Delete what gradio left of uploads that broke off: it keeps account of whole ones only."""
    for file in Path(get_upload_folder()).glob("tmp*"):
        if file.is_file() and file.stat().st_mtime < time.time() - _BROKEN_OFF:
            file.unlink(missing_ok=True)


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


def _network(address: str) -> str:
    """Return what one visitor holds: an IPv4 address, or the first 64 bits of an IPv6 one."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(ip_network((found, 64), strict=False))


def _stated_length(headers: Headers) -> int:
    stated = headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdigit() else 0


def _too_large(limit: int) -> Response:
    return PlainTextResponse(
        f"This request is too large: at most {limit / 2**20:,.0f} MB are taken.", status_code=413
    )
