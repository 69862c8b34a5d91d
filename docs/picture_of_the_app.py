"""Take the picture of the app that the README shows: the shipped model, asked about drawn scenes.

    python docs/picture_of_the_app.py      # writes docs/app.png

It starts ``app.py`` on a free port and drives headless Chromium (extra ``test``). The drawn gallery
is the only one it opens, so no picture of a data set can show.
"""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "app.png"
CHROMIUM = "/usr/bin/chromium"
QUERY = "boats moored beside a pier"
SIZE = (1280, 900)  # pixels
COLOURS = 256  # of the palette, which keeps the file small
PATIENCE = 300  # seconds for the app to start, and again for an answer


@contextmanager
def running_app() -> Iterator[str]:
    """Start the app with its shipped model and the drawn gallery; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--gallery", "sample", "--port", str(port)]
    with subprocess.Popen([sys.executable, "app.py", *flags], cwd=ROOT) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process)
            yield url
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once the address answers.

    Raises:
        SystemExit: the app ended, or did not answer in time.
    """
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"error: the app did not answer at {url}")


def take_picture(url: str, file: Path) -> None:
    """Search the app for ``QUERY`` and save what a window of ``SIZE`` shows then."""
    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url, wait_until="domcontentloaded")
        page.locator("#rs-results .rs-card").first.wait_for()  # the gallery, before any query
        # The first answer is of all pictures, with nothing under way in the header.
        page.locator(".rs-progress").wait_for(state="detached")
        box = page.get_by_label("What are you looking for?")
        box.fill(QUERY)
        box.press("Enter")
        page.locator("#rs-results .rs-score").first.wait_for()
        page.wait_for_function("[...document.images].every(each => each.complete)")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=file)
        browser.close()


def main() -> None:
    """Take the picture and make its file small."""
    with running_app() as url:
        take_picture(url, PICTURE)
    picture = Image.open(PICTURE).convert("RGB").quantize(COLOURS)
    picture.save(PICTURE, optimize=True)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
