"""Names, captions and queries that are markup: the page shows them as they are written."""

import json

import pytest

from tests.app_server import running_app
from tests.test_browser import CHROMIUM, FLAGS, SLOW, open_card, search
from tests.ui.tiny_models import save_launch

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is absent: apt install chromium"),
]


@pytest.fixture
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


MARKUP = "<img src=x onerror=window.ran=1><script>window.ran=1</script>"
FILE = "<img src=x onerror=window.ran=1>.png"


@pytest.fixture
def hostile(tmp_path):
    """A launch whose file names, captions, categories and sentences are markup that runs."""
    flags = save_launch(tmp_path)
    rows = []
    for number, block in enumerate(sorted((tmp_path / "gallery").glob("block_*.png"))):
        named = block.rename(block.with_name(f"{number:02d}{FILE}"))
        place = [500000.0, 0.5, 0.0, 5000000.0, 0.0, -0.5]
        row = {"file_name": named.name, "captions": [MARKUP, MARKUP], "category": MARKUP}
        rows.append(row | {"geotransform": place, "crs": MARKUP})
    (tmp_path / "gallery" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "bank.txt").write_text("\n".join(f"{MARKUP} {number}" for number in range(6)))
    with running_app(flags, tmp_path / "log.txt") as url:
        yield tmp_path, url


def test_markup_in_names_captions_and_queries_is_shown_as_text(browser, hostile):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(SLOW)
    page.goto(hostile[1], wait_until="domcontentloaded")
    page.locator("#rs-results .rs-card").first.wait_for()
    search(page, MARKUP)
    open_card(page, 0)
    assert page.get_by_text(MARKUP).count() > 1  # as it is written, in cards and detail
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More options").click()
    upload = next((hostile[0] / "gallery").glob("05*"))
    broken = hostile[0] / FILE
    broken.write_bytes(b"no picture")
    page.locator("#rs-uploads input[type=file]").set_input_files([upload, broken])
    page.get_by_text("Left out").wait_for()
    page.get_by_role("tab", name="Picture").click()
    page.locator("#rs-picture input[type=file]").set_input_files(upload)
    page.locator("#rs-captions .rs-sentence").first.wait_for()
    assert page.locator("#rs-captions").get_by_text(MARKUP).count() == 5
    page.locator("#rs-similar-results .rs-card").first.wait_for()
    page.get_by_role("tab", name="Region graph").click()
    page.locator("#rs-region-picture input[type=file]").set_input_files(upload)
    page.locator(".js-plotly-plot").first.wait_for()
    assert page.evaluate("window.ran") is None
    page.close()
