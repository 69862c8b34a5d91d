"""axe-core over every tab of the page, light and dark, on a wide screen and a phone.

Nothing of level A or AA may be wrong in our own markup. What gradio's components bring stands below
by rule, each with where it is.
"""

import pytest

from tests.app_server import running_app
from tests.test_browser import CHROMIUM, FLAGS, SLOW, open_card, search
from tests.ui.tiny_models import save_launch

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is absent: apt install chromium"),
]

LEVELS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
}
#: Rules that gradio 6 breaks, and a part of what stands at each such place.
GRADIOS: dict[str, tuple[str, ...]] = {
    "aria-prohibited-attr": ('aria-label="Static column"',),  # of a table's locked columns
}


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    with running_app(save_launch(folder), folder / "log.txt") as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


def ask_search(page):
    search(page, "planes")


def open_result(page):
    search(page, "planes")
    open_card(page, 0)
    page.locator("#rs-why img").wait_for()


def open_options(page):
    page.get_by_role("button", name="More options").first.click()


def give_picture(page):
    page.locator("#rs-picture-samples .rs-sample").first.click()
    page.locator("#rs-captions .rs-sentence").first.wait_for()


def draw_regions(page):
    page.locator("#rs-region-picture-samples .rs-sample").first.click()
    page.locator(".js-plotly-plot .main-svg").first.wait_for()


def search_scene(page):
    page.locator("#rs-scene-sample").click()
    page.get_by_text("The drawn sample scene is open").wait_for()
    box = page.get_by_label("What do you look for in the scene?")
    box.fill("planes")
    box.press("Enter")
    page.locator("#rs-scene-hits .rs-card").first.wait_for()


def open_loop(page):
    page.locator("#rs-results .rs-card").first.focus()
    page.keyboard.press("g")
    page.locator("#rs-marks .rs-mark-good").wait_for()
    page.get_by_role("button", name="More options").click()
    page.locator("#rs-more").get_by_text("More about the query").click()
    page.get_by_text("do not say where on the Earth").wait_for()
    page.get_by_text("Concepts: keep the marks").click()
    page.locator("#rs-collection").get_by_text("Collection", exact=True).first.click()


STATES = {
    "gallery": ("search", None),
    "results": ("search", ask_search),
    "options": ("search", open_options),
    "loop": ("search", open_loop),
    "open result": ("search", open_result),
    "picture": ("picture", give_picture),
    "regions": ("regions", draw_regions),
    "scene": ("scene", search_scene),
    "about": ("about", None),
}


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_wrong_in_our_markup(browser, launch, state, theme, width):
    tab, reach = STATES[state]
    page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(SLOW)
    page.goto(f"{launch}/?tab={tab}&__theme={theme}", wait_until="domcontentloaded")
    page.locator(f"#rs-tabs [role=tab][data-tab-id={tab}][aria-selected=true]").wait_for()
    page.get_by_text("1 picture was left out").wait_for()  # ready: nothing changes by itself
    if tab == "search":
        page.locator("#rs-results .rs-card").first.wait_for()
    if reach is not None:
        reach(page)
    page.wait_for_timeout(400)  # for colours that fade in
    found = axe.Axe().run(page, options=LEVELS).response["violations"]
    page.close()
    assert ours(found) == []


def ours(violations):
    """Return rule and place of what is wrong, less what is known to be gradio's."""
    return [
        (rule["id"], node["html"][:200], node["failureSummary"][:300])
        for rule in violations
        for node in rule["nodes"]
        if not any(part in node["html"] for part in GRADIOS.get(rule["id"], ()))
    ]
