"""URIs of servers that can be none are refused before anything connects."""

from urllib.parse import urlsplit

import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.vector_index.opening import open_index
from rsctir_hf.vector_index.server_uri import read_server_uri


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("host:99999999", "port '99999999'.*1 to 65535"),
        ("host:0", "port '0'"),
        ("host:http", "port 'http'"),
        ("two words:80", "host 'two words'"),
        ("[::1:80", "cannot be read"),
    ],
)
def test_a_bad_host_or_port_is_named_without_the_password(scheme, server, message):
    with pytest.raises(QueryError, match=message) as caught:
        open_index(f"{scheme}://me:secret@{server}/place")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:p@ss@host:19530?collection=a",
        "http://[::1]:19530",
        "postgresql:///pictures?host=/run/socket",
        "postgresql://me@one:5432,two:5433/pictures",
        "postgresql://%2Frun%2Fsocket/pictures",
        "/data/my pictures:1.db?collection=a",
    ],
)
def test_other_addresses_are_left_to_the_server(uri):
    assert read_server_uri(uri) == urlsplit(uri)
