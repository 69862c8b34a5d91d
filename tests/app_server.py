"""The app in a process of its own, on tiny models, for clients and browsers to talk to."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 180  # seconds until the page must be up


@contextmanager
def running_app(flags, log, *, root=ROOT):
    """Start app.py of a checkout on a free port of loopback; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environ["GRADIO_TEMP_DIR"] = str(log.with_name("uploads"))  # of no other test's files
    environ.pop("PYTHONPATH", None)  # the package beside app.py is the one that counts
    command = [sys.executable, str(root / "app.py"), "--port", str(port), *flags]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=root, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, log)
            yield url
        finally:
            process.terminate()
            if (code := process.wait(timeout=30)) not in (0, 128 + signal.SIGTERM):
                raise RuntimeError(f"app.py ended with {code} on SIGTERM:\n{log.read_text()}")


def _wait(url, process, log):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"app.py ended early:\n{log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"app.py was not up after {PATIENCE} s:\n{log.read_text()}")
