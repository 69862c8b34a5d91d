"""The URI of a server, checked before anything connects to it."""

import re
from urllib.parse import SplitResult, urlsplit

from rsctir_hf.errors import QueryError

_HOST = re.compile(r"[\w.:%-]*")  # names, IPv4, IPv6, and the folder of a socket in %2F notation


def read_server_uri(uri: str) -> SplitResult:
    """Split a URI such as ``postgresql://user:password@host:port/database?table=NAME``.

    Raises:
        QueryError: the host or the port cannot be one; the password is not repeated.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise QueryError(f"The address of the server cannot be read: {error}.") from None
    for server in parts.netloc.rpartition("@")[2].split(","):  # PostgreSQL takes several
        host, port = _host_and_port(server)
        if not _HOST.fullmatch(host):
            raise QueryError(
                f"The address of the server has the host {host!r}; expected a name or an IP "
                "address, such as localhost."
            )
        if port and not (port.isdecimal() and 0 < int(port) < 2**16):
            raise QueryError(
                f"The address of the server has the port {port!r}; expected a number from 1 to "
                "65535."
            )
    return parts


def _host_and_port(server: str) -> tuple[str, str]:
    """Split ``host:port`` or ``[IPv6]:port``; either may be missing."""
    bracketed, closing, rest = server.rpartition("]")
    if closing:
        return bracketed.lstrip("["), rest.lstrip(":")
    host, _, port = server.partition(":")
    return host, port
